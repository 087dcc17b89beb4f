"""Commands that look at a service, against one that listens: plain lines where the output is no terminal."""

import json

from nfa_command import nfa


def test_top_looks_once_where_the_output_is_no_terminal(port, submit):
    submit()
    there = {"NFA_URL": f"http://127.0.0.1:{port}"}
    done = nfa("top", environment=there)
    assert done.returncode == 0, done.stderr
    assert "6 wait, 0 run" in done.stdout and "\x1b" not in done.stdout
    found = json.loads(nfa("top", "--json", environment=there).stdout)
    assert found["cluster"]["queued"] == 6 and len(found["activity"]["buckets"]) == 12
