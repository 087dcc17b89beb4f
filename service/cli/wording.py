"""What the service says in the words of REST, in those of the command line."""

import re
import shlex
from collections.abc import Callable
from typing import Final


def _mapped(found: re.Match[str]) -> str:
    return " ".join(f"--{name} {shlex.quote(found[name])}" for name in ("x", "y"))


_LISTS: Final = {"datasets": "datasets list", "experiments": "list"}
_PHRASES: Final[tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]] = (
    (r"GET /(datasets|experiments) lists them", lambda found: f"`nfa {_LISTS[found[1]]}` shows them"),
    (r"\bPOST /datasets\b", "`nfa datasets upload FILE`"),
    (r"\bDELETE /experiments/ID\b", "`nfa delete ID`"),
    (r"\bPOST /experiments/ID/cancel\b", "`nfa cancel ID`"),
    (r"\?targets=(classes|numbers)", r"--targets \1"),
    (r"\?x=(?P<x>.+?)&y=(?P<y>.+?)(?= \(first\.\.last|$)", _mapped),
    (r"\?(x|y)(_test)?= ?", lambda found: f"--{found[1]}{'-test' if found[2] else ''} "),
)
"""Pattern -> what stands for it, in this order."""


def for_a_shell(said: str) -> str:
    """A message with commands and options where it names requests and parameters."""
    for pattern, words in _PHRASES:
        said = re.sub(pattern, words, said)
    return said
