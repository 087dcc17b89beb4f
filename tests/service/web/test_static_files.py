"""Static files are small, ask no other host, and evaluate no text."""

import json
import re
from pathlib import Path

import service.web

STATIC = Path(service.web.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))


def test_the_bundled_editor_is_small_and_its_licences_stand_beside_it():
    assert (STATIC / "editor.js").stat().st_size < 400_000
    told = (STATIC / "editor.LICENSE.txt").read_text()
    packages = json.loads((STATIC.parent / "editor" / "package.json").read_text())["dependencies"]
    assert all(name in told for name in packages if name != "esbuild")
    assert told.count("MIT License") + told.count("Permission is hereby granted") >= len(packages) - 1


def test_no_script_asks_another_host_or_evaluates_text():
    for script in SCRIPTS:
        text = script.read_text()
        assert not re.search(r"\beval\(|new Function\(", text), script.name
        hosts = set(re.findall(r"https?://[\w.-]+", text)) - {"http://www.w3.org"}
        assert hosts == set(), script.name
