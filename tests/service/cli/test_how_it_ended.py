"""What `nfa up` says of a process that has ended."""

import pytest

from service.cli.local_service import how_it_ended


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (0, [], "exit code 0"),
        (1, ['{"event": "stopped", "error": "no schema"}', ""], "exit code 1: no schema"),
        (1, ["\x1b[33m(raylet)\x1b[0m out of memory"], "exit code 1: (raylet) out of memory"),
        (-9, ["\x1b[33m(raylet)\x1b[0m A worker died"], "killed by SIGKILL"),
        (-250, ["what came last"], "exit code -250: what came last"),
    ],
)
def test_it_is_its_exit_code_and_last_words_or_the_signal_that_killed_it(code, lines, said):
    assert how_it_ended(code, lines) == said
