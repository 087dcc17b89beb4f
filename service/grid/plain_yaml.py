"""YAML 1.2 core as plain values, built from the events of libyaml, which reads 4 MiB in a second at most.

Building them here, rather than with a loader's constructors, is what makes `no` a string and 1e-3 a number whatever
the document's %YAML line says, keeps dates strings, and lets every refusal name its line: duplicate keys, tags,
deep nesting, and aliases that would multiply. docs/decisions/0005 says where libyaml's syntax differs.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from yaml import MarkedYAMLError, YAMLError
from yaml.cyaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

_NUMBERS: Final[tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...]] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
)
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
MAX_DIGITS: Final = 400
_TAG_LINES: Final = re.compile(r"^%TAG", re.MULTILINE)
_MOST_TAG_LINES: Final = 20
"""libyaml compares each with all before it."""
_TOO_DEEP: Final = "maximum nesting depth"
_OLD_LINE_BREAKS: Final = "\x85\u2028\u2029"


class Unreadable(Exception):
    """The text is no document that is accepted; line and column count from 1."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


@dataclass
class _Open:
    """A list or mapping that is being filled."""

    value: Any
    anchor: str | None
    key: Any = None
    has_key: bool = False
    size: int = 1


def load(text: str, *, max_nesting: int, max_values: int) -> Any:
    """The only document in the text as dicts, lists, strings, numbers, booleans and None.

    Raises:
        Unreadable: with the line and column of what was refused.
    """
    if len(_TAG_LINES.findall(text)) > _MOST_TAG_LINES:
        raise Unreadable(f"more than {_MOST_TAG_LINES} %TAG lines: values need no tags")
    text, restored = _without_old_line_breaks(text)
    builder = _Builder(max_nesting, max_values, restored)
    try:
        _take_all(text, builder)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark is not None and _TOO_DEEP in str(error.problem):
            # libyaml looks ahead and counts for itself, up to 1,000: what goes before that is too deep for us already
            with contextlib.suppress(YAMLError):
                _take_all(text[: mark.index], _Builder(max_nesting, max_values, restored))
        message = " ".join(part for part in (error.context, error.problem) if part)
        raise Unreadable(message, *_place(mark, text)) from error
    except (YAMLError, ValueError) as error:
        raise Unreadable(str(error).splitlines()[0]) from error
    return builder.root


def _take_all(text: str, builder: "_Builder") -> None:
    parser = CParser(text)
    while parser.check_event():
        builder.take(parser.get_event())


def _place(mark: Any, text: str) -> tuple[int, int]:
    """Line and column from 1; the end of the text lies on its last line."""
    if mark is None:
        return 0, 0
    lines = text.count("\n")
    return (lines + 1, len(text) - text.rfind("\n")) if mark.line > lines else (mark.line + 1, mark.column + 1)


def _without_old_line_breaks(text: str) -> tuple[str, dict[int, str]]:
    """The text with what only YAML 1.1 takes for a line break under other characters, and how to put it back."""
    found = [one for one in _OLD_LINE_BREAKS if one in text]
    if not found:
        return text, {}
    free = (chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)
    stand_ins = dict(zip(found, free, strict=False))
    if len(stand_ins) < len(found):
        raise Unreadable("holds U+0085, U+2028 or U+2029 beside every character for private use")
    return text.translate({ord(one): other for one, other in stand_ins.items()}), {
        ord(other): one for one, other in stand_ins.items()
    }


class _Builder:
    """Turns events into values with a stack of its own, so that nesting costs no recursion."""

    def __init__(self, max_nesting: int, max_values: int, restored: dict[int, str]) -> None:
        self.root: Any = None
        self._restored = restored
        self._documents = 0
        self._max_nesting = max_nesting
        self._max_values = max_values
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0

    def take(self, event: Any) -> None:
        """Take one event of the parser."""
        take = _TAKEN.get(type(event))
        if take is not None:
            take(self, event)

    def _begin(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._refuse(event, "a second document begins: one is expected")

    def _take_scalar(self, event: Any) -> None:
        if event.tag is not None:
            self._refuse_tag(event)
        text = self._text(event) if self._restored else event.value
        value = text if event.style else self._plain(event, text)
        parent = self._stack[-1] if self._stack else None
        if parent is None or event.anchor is not None or type(parent.value) is not list:
            self._add(event, value, 1, event.anchor)
            return
        # most of what is long: an item that is not referred to again
        parent.size += 1
        if parent.size > self._max_values:
            self._refuse_many(event)
        parent.value.append(value)

    def _end(self, event: Any) -> None:
        done = self._stack.pop()
        self._add(event, done.value, done.size, done.anchor)

    def _open(self, event: Any) -> None:
        self._refuse_tag(event)
        if len(self._stack) >= self._max_nesting:
            self._refuse(event, f"nested more than {self._max_nesting} levels deep")
        self._stack.append(_Open({} if isinstance(event, MappingStartEvent) else [], event.anchor))

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._refuse(event, f"the alias *{event.anchor} names no anchor before it, or one it lies in")
        value, size = self._anchors[event.anchor]
        self._add(event, value, size, None)

    def _add(self, event: Any, value: Any, size: int, anchor: str | None) -> None:
        """Put a finished value, which counts `size` values, into what is open."""
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if not self._stack:
            self.root = value
            return
        parent = self._stack[-1]
        parent.size += size
        if parent.size > self._max_values:
            self._refuse_many(event)
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.has_key:
            parent.value[parent.key] = value
            parent.has_key = False
        else:
            self._take_key(event, parent, value)

    def _take_key(self, event: Any, parent: _Open, key: Any) -> None:
        # a key reads as the text it is written as: 1, true and 2e3 too, as in JSON
        text = self._text(event) if isinstance(event, ScalarEvent) else key
        if not isinstance(text, str):
            self._refuse(event, "a key must be a string")
        if text in parent.value:
            self._refuse(event, f"the key {text[:100]} is given twice")
        parent.key, parent.has_key = text, True

    def _text(self, event: Any) -> str:
        """A scalar as it was written."""
        return event.value.translate(self._restored) if self._restored else event.value

    def _plain(self, event: Any, text: str) -> Any:
        """What text without quotes means."""
        if text.isdigit() and text.isascii() and len(text) <= MAX_DIGITS:
            return int(text)
        if text in _WORDS:
            return _WORDS[text]
        # only text that begins like a number can be one
        return self._number(event, text) if text[0] in "+-.0123456789" else text

    def _number(self, event: Any, text: str) -> Any:
        """The number that plain text writes, or the text."""
        for pattern, convert in _NUMBERS:
            if pattern.fullmatch(text):
                if len(text) > MAX_DIGITS:
                    self._refuse(event, f"a number of more than {MAX_DIGITS} digits")
                return convert(text)
        return text

    def _refuse_many(self, event: Any) -> None:
        self._refuse(event, f"more than {self._max_values} values, aliases counted as often as they are used")

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            self._refuse(event, f"the tag {str(event.tag)[:100]} is not accepted: values need no tags")

    def _refuse(self, event: Any, message: str) -> None:
        mark = event.start_mark
        raise Unreadable(message, mark.line + 1, mark.column + 1)


_TAKEN: Final[dict[type, Callable[[_Builder, Any], None]]] = {
    DocumentStartEvent: _Builder._begin,
    ScalarEvent: _Builder._take_scalar,
    AliasEvent: _Builder._alias,
    MappingStartEvent: _Builder._open,
    SequenceStartEvent: _Builder._open,
    MappingEndEvent: _Builder._end,
    SequenceEndEvent: _Builder._end,
}
"""What is done with an event of the parser; with those that are not here, nothing."""
