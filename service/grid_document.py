"""Reading a grid's bytes, YAML 1.2 or JSON, into plain values; and what plain values may be."""

import re
from collections.abc import Mapping
from typing import Any, Final

from service.problems import Problems

MAX_NESTING: Final = 32
MAX_VALUES: Final = 500_000

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL's text refuses, and halves of surrogate pairs, which are no characters."""


def check_plain(document: Any, problems: Problems) -> None:
    """Note what no database can hold: keys that are not strings, deep nesting, NUL and lone surrogates."""
    if not isinstance(document, Mapping):
        problems.add("", "a grid is a mapping", received=document)
        return
    waiting: list[tuple[str, Any, int]] = [("", document, 0)]
    seen = 0
    while waiting and not problems.full:
        path, value, depth = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            problems.add("", f"more than {MAX_VALUES} values")
            return
        if depth > MAX_NESTING:
            problems.add(path[:200], f"nested more than {MAX_NESTING} levels deep")
        elif isinstance(value, str):
            if _UNSTORABLE.search(value):
                problems.add(path, "holds a NUL character or half of a surrogate pair", received=value)
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                if not isinstance(key, str):
                    problems.add(path or "the grid", "keys must be strings", received=key)
                elif _UNSTORABLE.search(key):
                    problems.add(path or "the grid", "a key holds a NUL character or half of a surrogate pair")
                else:
                    waiting.append((f"{path}.{key}" if path else key, inner, depth + 1))
        elif isinstance(value, list | tuple):
            waiting += [(f"{path}[{index}]", inner, depth + 1) for index, inner in enumerate(value)]
        elif not (value is None or isinstance(value, bool | int | float)):
            problems.add(path, "must be a number, a string, a list, a mapping or null", received=value)
