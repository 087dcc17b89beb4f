"""Reading a grid's bytes, YAML 1.2 or JSON, into plain values; and what plain values may be."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from service.errors import InvalidGrid, UnsupportedMedia
from service.grid import plain_yaml
from service.grid.problems import Problems

MAX_NESTING: Final = 32
MAX_VALUES: Final = 500_000
JSON_TYPES: Final = ("application/json",)
YAML_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml")

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL's text refuses, and halves of surrogate pairs, which are no characters."""


def parse_document(body: bytes, content_type: str = "application/yaml") -> dict[str, Any]:
    """The mapping that a request's body holds.

    Args:
        body: UTF-8 text, a byte order mark is accepted.
        content_type: media type, parameters allowed; an empty one, or */*, reads as YAML, which JSON nearly always is.
    Raises:
        InvalidGrid: with line and column of what cannot be read.
        UnsupportedMedia: for any other media type.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media not in (*JSON_TYPES, *YAML_TYPES, "", "*/*"):
        allowed = ", ".join((*JSON_TYPES, *YAML_TYPES[:1]))
        raise UnsupportedMedia(f"content type {media[:100]} is not read here; send {allowed}")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidGrid(f"the body is not UTF-8: byte {error.start} does not fit") from error
    try:
        if media in JSON_TYPES:
            document = _load_json(text)
        else:
            document = plain_yaml.load(text, max_nesting=MAX_NESTING, max_values=MAX_VALUES)
    except plain_yaml.Unreadable as error:
        raise _unreadable(error) from error
    problems = Problems()
    check_plain(document, problems)
    problems.raise_as(InvalidGrid)
    return document


def check_plain(document: Any, problems: Problems) -> None:
    """Note what no database can hold: non-finite numbers, NUL, lone surrogates; and deep nesting."""
    if not isinstance(document, Mapping):
        problems.add("", "a grid is a mapping with keys such as trial, axes and seeds", received=document)
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
        elif isinstance(value, Mapping | list | tuple):
            waiting += [(inner_path, inner, depth + 1) for inner_path, inner in _inside(path, value, problems)]
        elif isinstance(value, str):
            if _UNSTORABLE.search(value):
                problems.add(path, "holds a NUL character or half of a surrogate pair", received=value)
        elif isinstance(value, float) and not math.isfinite(value):
            problems.add(path, "must be a finite number", received=value)
        elif not (value is None or isinstance(value, bool | int | float)):
            problems.add(path, "must be a number, a string, a list, a mapping or null", received=value)


def _inside(path: str, value: Any, problems: Problems) -> Iterator[tuple[str, Any]]:
    """What a list or a mapping holds, with paths; keys that cannot be stored are noted and left out."""
    if not isinstance(value, Mapping):
        yield from ((f"{path}[{index}]", inner) for index, inner in enumerate(value))
        return
    for key, inner in value.items():
        if not isinstance(key, str):
            problems.add(path, "keys must be strings", received=key)
        elif _UNSTORABLE.search(key):
            problems.add(path, "a key holds a NUL character or half of a surrogate pair", received=key)
        else:
            yield f"{path}.{key[:200]}" if path else key[:200], inner


def _load_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_mapping_of, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise plain_yaml.Unreadable(f"not JSON: {error.msg}", error.lineno, error.colno) from error
    except RecursionError as error:
        raise plain_yaml.Unreadable(f"nested more than {MAX_NESTING} levels deep") from error


def _mapping_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise plain_yaml.Unreadable(f"the key {twice[:100]} is given twice in one mapping")
    return found


def _whole_number(text: str) -> int:
    if len(text) > plain_yaml.MAX_DIGITS:
        raise plain_yaml.Unreadable(f"a number of more than {plain_yaml.MAX_DIGITS} digits")
    return int(text)


def _unreadable(error: plain_yaml.Unreadable) -> InvalidGrid:
    """The refusal with its place; half characters in the message would break the answer."""
    message = str(error)[:300].encode("ascii", "backslashreplace").decode()
    if not error.line:
        return InvalidGrid(message, errors=[{"path": "", "message": message}])
    place = f"line {error.line}, column {error.column}"
    entry = {"path": "", "message": message, "line": error.line, "column": error.column}
    return InvalidGrid(f"{place}: {message}", errors=[entry])
