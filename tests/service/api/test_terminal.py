"""Commands that look at a service, against one that listens: plain lines where the output is no terminal."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from nfa_command import nfa


def test_top_looks_once_where_the_output_is_no_terminal(port, submit):
    submit()
    there = {"NFA_URL": f"http://127.0.0.1:{port}"}
    done = nfa("top", environment=there)
    assert done.returncode == 0, done.stderr
    assert "6 wait, 0 run" in done.stdout and "\x1b" not in done.stdout
    found = json.loads(nfa("top", "--json", environment=there).stdout)
    assert found["cluster"]["queued"] == 6 and len(found["activity"]["buckets"]) == 12


@pytest.fixture
def two(submit, train_queue, tiny_grid):
    """Two trained experiments that differ in their width."""
    trial = tiny_grid()["trial"]
    first = submit(claims=[])["id"]
    second = submit(trial=trial | {"network": {"depth": 2, "width": 5}})["id"]
    train_queue()
    return first, second


def test_experiments_are_compared_listed_and_watched_in_plain_lines_and_on_a_terminal(two, port):
    there = {"NFA_URL": f"http://127.0.0.1:{port}"}
    compared = nfa("compare", *two, "--sort", "-weight_decay", environment=there)
    assert compared.returncode == 0, compared.stderr
    assert "2 of 2 groups are in all of them" in compared.stdout and "network.width" in compared.stdout
    decays = [line.split()[0] for line in compared.stdout.splitlines() if line.lstrip().startswith("0")]
    assert decays == ["0.1", "0"]
    answered = json.loads(nfa("compare", *two, "--json", environment=there).stdout)
    assert answered["differences"] == [{"path": "network.width", "values": {two[0]: [4], two[1]: [5]}}]
    listed = nfa("list", "--sort", "id", environment=there).stdout
    assert listed.index(two[0]) < listed.index(two[1])
    assert "no such column" in nfa("list", "--sort", "size", environment=there).stderr
    assert _watched(two[0], there) == (0, True)


def _watched(experiment: str, there: dict[str, str]) -> tuple[int, bool]:
    """Exit code of `nfa watch` on a terminal, and whether it drew the pane of curves there."""
    reader, writer = pty.openpty()
    words = [str(Path(sys.executable).with_name("nfa")), "watch", experiment]
    wide = {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
    plain = {key: value for key, value in os.environ.items() if not key.startswith("NFA_")}
    process = subprocess.Popen(words, env=plain | wide | there, stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    process.communicate(timeout=120)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(reader, 65536):
            shown += part
    os.close(reader)
    return process.returncode, b"alignment of layer 1" in shown and b"weight_decay 0.1" in shown
