"""`nfa reproduce` as a user runs it."""

import itertools
import json
import os
import re
import subprocess
import sys

from processes import wait_until


def _reproduce(folder, *names):
    """Its exit code and what it said; fails where no further trial ends for three minutes."""
    command = [sys.executable, "-m", "service.cli.main", "reproduce", *names, "--out", str(folder)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NFA_")}
    log = folder / "said"
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=plain, stdout=said, stderr=said)

    def trials_ended():
        counts = re.findall(r"(\d+)/\d+ trials", log.read_text())
        return sum(before != now for before, now in itertools.pairwise(counts))

    try:
        wait_until(lambda: process.poll() is not None, grown=trials_ended)
    finally:
        process.terminate()
        process.wait(30)
    return process.returncode, log.read_text()


def test_presets_are_trained_judged_drawn_and_written_up(tmp_path):
    code, said = _reproduce(tmp_path, "collapse", "step-size")
    assert code == 0, said
    assert "2 presets, every claim holds" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["holds"] is True
    assert [one["preset"] for one in report["presets"]] == ["collapse", "step-size"]
    assert [one["trials"] for one in report["presets"]] == [100, 150]
    claims = [claim for one in report["presets"] for claim in one["verdicts"]]
    assert len(claims) == 32
    assert all(claim["holds"] for claim in claims)
    text = (tmp_path / "report.md").read_text()
    for one in report["presets"]:
        assert f"![{one['title']}]({one['figure']})" in text
        assert (tmp_path / one["figure"]).read_bytes().startswith(b"\x89PNG")


def test_a_preset_that_there_is_not_is_named_before_anything_starts(tmp_path):
    code, said = _reproduce(tmp_path, "weight-decoy")
    assert code == 2
    assert "did you mean weight-decay?" in said
