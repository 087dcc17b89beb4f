"""`nfa reproduce` as a user runs it."""

import json
import os
import subprocess
import sys


def _reproduce(folder, *names):
    command = [sys.executable, "-m", "service.cli.main", "reproduce", *names, "--out", str(folder)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NFA_")}
    return subprocess.run(command, env=plain, capture_output=True, text=True, timeout=100, check=False)


def test_presets_are_trained_judged_drawn_and_written_up(tmp_path):
    done = _reproduce(tmp_path, "weight-decay", "step-size")
    assert done.returncode == 0, done.stderr
    assert "2 presets, every claim holds" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["holds"] is True
    assert [one["preset"] for one in report["presets"]] == ["weight-decay", "step-size"]
    assert [one["trials"] for one in report["presets"]] == [150, 150]
    claims = [claim for one in report["presets"] for claim in one["verdicts"]]
    assert len(claims) == 8
    assert all(claim["holds"] for claim in claims)
    text = (tmp_path / "report.md").read_text()
    for one in report["presets"]:
        assert f"![{one['title']}]({one['figure']})" in text
        assert (tmp_path / one["figure"]).read_bytes().startswith(b"\x89PNG")


def test_a_preset_that_there_is_not_is_named_before_anything_starts(tmp_path):
    done = _reproduce(tmp_path, "weight-decoy")
    assert done.returncode == 2
    assert "did you mean weight-decay?" in done.stderr
