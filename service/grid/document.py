"""Reading a grid's bytes, YAML 1.2 or JSON, into plain values; and what plain values may be."""

import itertools
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
_JSON_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_JSON_EMPTY: Final = re.compile(r"\[\s*\]|\{\s*\}")
_LONG_NUMBER: Final = re.compile(f"(?<![0-9])[0-9]{{{plain_yaml.MAX_DIGITS},}}")


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
    elif not _is_plain(document):
        _note_strange(document, problems)


def _is_plain(document: Mapping[str, Any]) -> bool:
    """Whether there is nothing to note; level by level and without paths, which cost more than looking."""
    level: list[Any] = [document]
    seen = 1
    for depth in range(MAX_NESTING + 1):
        seen += sum(map(len, level))
        if seen > MAX_VALUES or (depth == MAX_NESTING and any(level)):
            return False
        following: list[Any] = []
        for container in level:
            if type(container) is dict:
                if not all(type(key) is str for key in container) or _UNSTORABLE.search("".join(container)):
                    return False
                following += [one for one in container.values() if not _is_storable(one)]
            else:
                following += [one for one in container if not _is_storable(one)]
        if not all(type(one) is dict or type(one) is list for one in following):
            return False
        level = following
    return True


def _is_storable(value: Any) -> bool:
    """Whether a value is no list or mapping, and every database can hold it."""
    of = type(value)
    if of is int or of is bool or value is None:
        return True
    return not _UNSTORABLE.search(value) if of is str else of is float and math.isfinite(value)


def _note_strange(document: Mapping[str, Any], problems: Problems) -> None:
    """Look at every value with its path until there is enough to tell."""
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
            inside = itertools.islice(_inside(path, value, problems), MAX_VALUES + 1)
            waiting += [(inner_path, inner, depth + 1) for inner_path, inner in inside]
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
        if problems.full:
            return
        if not isinstance(key, str):
            problems.add(path, "keys must be strings", received=key)
        elif _UNSTORABLE.search(key):
            problems.add(path, "a key holds a NUL character or half of a surrogate pair", received=key)
        else:
            yield f"{path}.{key[:200]}" if path else key[:200], inner


def _count_json(text: str) -> int:
    """How many values a JSON text holds, lists and mappings among them, without making them."""
    bare = _JSON_STRING.sub("0", text)
    inner = bare.count(",") + bare.count("[") + bare.count("{") - len(_JSON_EMPTY.findall(bare))
    return inner + 1


def _load_json(text: str) -> Any:
    # a separator that is no separator is at most one inside of a string: mostly there is nothing to look at
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES and _count_json(text) > MAX_VALUES:
        raise plain_yaml.Unreadable(f"more than {MAX_VALUES} values")
    try:
        # calling back for each number costs more than reading it
        whole = _whole_number if _LONG_NUMBER.search(text) else None
        return json.loads(text, object_pairs_hook=_mapping_of, parse_int=whole)
    except json.JSONDecodeError as error:
        raise plain_yaml.Unreadable(f"not JSON: {error.msg}", error.lineno, error.colno) from error
    except RecursionError as error:
        raise plain_yaml.Unreadable(f"nested more than {MAX_NESTING} levels deep") from error


def _mapping_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise plain_yaml.Unreadable(f"the key {key[:100]} is given twice in one mapping")
            seen.add(key)
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
