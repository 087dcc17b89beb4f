"""The header of a CSV file: what separates its columns, and their names."""

import re
from typing import Final, NamedTuple

from service.datasets.cells import MISSING
from service.datasets.csv_text import DELIMITERS, as_utf8, called, cells_of, count_lines, decoded
from service.datasets.limits import MAX_COLUMNS, check_count, shown
from service.errors import InvalidDataset

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_HEAD_LINES: Final = 100
"""Lines of comments before the header."""


class Sheet(NamedTuple):
    """A CSV file whose header has been read."""

    names: list[str]
    """Of the columns; empty where one has none."""
    delimiter: str
    content: bytes
    """UTF-8."""
    start: int
    """Where, in the content, the line after the header begins."""
    line: int
    """The number of that line."""
    lines: int
    """How many follow, about; never fewer."""


def read_header(content: bytes) -> Sheet:
    """The names of a CSV file's columns.

    The header is the first line, or, where numbers follow at once, the last of the comments that begin with # (as
    np.savetxt writes it). Columns are separated by commas, semicolons or tabs.

    Raises:
        InvalidDataset: no text, or no header.
        TooLarge: too many columns.
    """
    content = as_utf8(content)
    start, line, comment, delimiter = 0, 1, "", None
    while start < len(content) and line <= _HEAD_LINES:
        found = _LINE_END.search(content, start)
        end, following = found.span() if found else (len(content), len(content))
        check_count(1 + max(content.count(one.encode(), start, end) for one in DELIMITERS), MAX_COLUMNS, "columns")
        text = decoded(content[start:end], line)
        if line == 1 and re.fullmatch(r"sep=[,;\t]", text):
            delimiter = text[-1]
        elif text.startswith("#") and text.strip("# \t"):
            comment = text[1:].strip()
        elif text.strip(" \t,;#"):
            if comment and _are_numbers(text):
                return _sheet(comment, delimiter, content, start, line)
            return _sheet(text, delimiter, content, following, line + 1)
        start, line = following, line + 1
    raise InvalidDataset(
        f"below the header, {shown(comment)}, there are no rows of numbers"
        if comment
        else "the file is empty: the first line names the columns, x.. and y.., and numbers follow"
    )


def _sheet(header: str, delimiter: str | None, content: bytes, start: int, line: int) -> Sheet:
    """The columns that a header names."""
    if not header.isprintable() and any(
        not letter.isprintable() and letter not in "\t\u00a0\ufeff" for letter in header
    ):
        raise InvalidDataset(f"line {line - 1} holds control characters: this is no CSV text")
    counts = {one: header.count(one) for one in DELIMITERS}
    delimiter = delimiter or max(DELIMITERS, key=lambda one: counts[one])
    names = [name.strip() for name in cells_of(header, delimiter, line - 1)]
    if _are_numbers(header):
        raise InvalidDataset(
            f"line {line - 1} holds numbers, not names: the first line names the columns, as in x0,x1,y0"
        )
    if len(names) == 1 and (found := re.search(r"\S([ |:]+)\S", names[0])):
        raise InvalidDataset(
            f"a column named {shown(names[0])}: separate columns with commas, not {called(found[1][0])}, as "
            "np.savetxt(.., delimiter=',') does; decimals with a point"
        )
    lines = count_lines(content) + 1 - line + (content[-1:] not in b"\r\n")
    return Sheet(names, delimiter, content, start, line, lines)


def _are_numbers(text: str) -> bool:
    """Whether a line holds numbers alone."""
    parts = [part.strip().strip('"').lower() for part in re.split(r"[,;\t]", text)]
    return any(map(_is_number, parts)) and all(part in MISSING or _is_number(part) for part in parts)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text) is not None
