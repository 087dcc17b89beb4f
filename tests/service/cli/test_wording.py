"""What the service says to programs is said to people at a shell in commands and options."""

import pytest

from service.cli.wording import for_a_shell


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("no experiment e9: GET /experiments lists them", "no experiment e9: `nfa list` shows them"),
        ("no dataset 'ab': GET /datasets lists them", "no dataset 'ab': `nfa datasets list` shows them"),
        ("upload it with POST /datasets and give its id", "upload it with `nfa datasets upload FILE` and give its id"),
        ("labels made one-hot (?targets=numbers keeps them)", "labels made one-hot (--targets numbers keeps them)"),
        (
            "Say which are which: ?x=a,b&y=y (first..last names all between)",
            "Say which are which: --x a,b --y y (first..last names all between)",
        ),
        ("or say which to take: ?x=my a,b&y=c", "or say which to take: --x 'my a,b' --y c"),
        ("?x_test= names q, which the file has not", "--x-test names q, which the file has not"),
        ("?y=b..a: a stands before b in the file", "--y b..a: a stands before b in the file"),
        ("what is said of neither stays", "what is said of neither stays"),
    ],
)
def test_requests_become_commands_and_parameters_options(said, expected):
    assert for_a_shell(said) == expected
