"""Tables of numbers in CSV text: the header, and the numbers below it, every one of them as float64.

What is packed is refused, whatever reader would unpack it: nothing here looks for magic bytes to follow them. Plain
files are read by Arrow, which knows the types beforehand; whatever it does not take is read again cell by cell, which
either reads it or says the line and the reason.
"""

import codecs
import csv
import io
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from service.datasets.cells import MISSING, Cells
from service.datasets.limits import MAX_COLUMNS, check_count, shown
from service.errors import InvalidDataset

PACKED: Final = {
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x78\x01": "zlib", b"\x78\x5e": "zlib", b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\xff\x06\x00\x00sNaPpY": "snappy",
    b"\x04\x22\x4d\x18": "lz4", b"\x5d\x00\x00": "lzma", b"\x1f\x9d": "compress", b"7z\xbc\xaf": "7-Zip", b"PK": "zip",
    b"PAR1": "Parquet", b"\x93NUMPY": ".npy", b"\x89HDF": "HDF5", b"ARROW1": "Arrow",
}  # fmt: skip
"""First bytes of what is sometimes sent in place of text."""
_DELIMITERS: Final = (",", ";", "\t")
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_HEAD_LINES: Final = 100
"""Lines of comments before the header."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


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


class Numbers(NamedTuple):
    """The chosen columns of a table: rows of float64, NaN where a cell says nothing."""

    values: np.ndarray
    lines: Sequence[int] | None
    """The line of each row; None where every number is there."""
    notes: list[str]


def read_header(content: bytes) -> Sheet:
    """The names of a CSV file's columns.

    The header is the first line, or, where numbers follow at once, the last of the comments that begin with # (as
    np.savetxt writes it). Columns are separated by commas, semicolons or tabs.

    Raises:
        InvalidDataset: no text, or no header.
        TooLarge: too many columns.
    """
    content = _as_utf8(content)
    start, line, comment, delimiter = 0, 1, "", None
    while start < len(content) and line <= _HEAD_LINES:
        found = _LINE_END.search(content, start)
        end, following = found.span() if found else (len(content), len(content))
        check_count(1 + max(content.count(one.encode(), start, end) for one in _DELIMITERS), MAX_COLUMNS, "columns")
        text = _decoded(content[start:end], line)
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


def read_numbers(sheet: Sheet, places: Sequence[int]) -> Numbers:
    """The columns at these places, in this order.

    Raises:
        InvalidDataset: with the line of what is no number, or the line that has too few or too many cells.
    """
    plain = _plain(sheet, places)
    notes = [] if sheet.delimiter == "," else [f"columns are separated by {_called(sheet.delimiter)}"]
    if plain is not None:
        return Numbers(plain, None, notes)
    cells, numbers, lines = Cells(), array("d"), array("L")
    blank, used = 0, [(place, sheet.names[place]) for place in places]
    for line, row in _rows(sheet, notes):
        if not any(cell.strip() for cell in row):
            blank = blank or line
            continue
        if blank and len(row) > 1:
            raise InvalidDataset(f"line {blank} holds no numbers, and rows follow it: fill it in or take it out")
        numbers.extend([cells.number(row[place], line, name) for place, name in used])
        lines.append(line)
    cells.check_commas()
    if cells.comma is not None:
        notes.append(f"commas inside numbers are decimal points ({cells.comma})")
    return Numbers(np.frombuffer(numbers).reshape(-1, len(places)), lines, notes)


def _plain(sheet: Sheet, places: Sequence[int]) -> np.ndarray | None:
    """The columns where every cell of theirs is a plain number and every line whole; None where one is not."""
    if sheet.delimiter != "," or b'"' in sheet.content:
        return None
    names = [str(place) for place in range(len(sheet.names))]
    chosen = [names[place] for place in places]
    try:
        found = pa_csv.read_csv(
            pa.BufferReader(pa.py_buffer(memoryview(sheet.content)[sheet.start :])),
            pa_csv.ReadOptions(column_names=names),
            pa_csv.ParseOptions(quote_char=False, newlines_in_values=False),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64()),
                null_values=[],
                include_columns=[*dict.fromkeys(chosen)],
            ),
        )
    except pa.ArrowException:
        return None
    values = np.column_stack([found[name].to_numpy() for name in chosen])
    return values if len(values) and bool(np.isfinite(values).all()) else None


def _rows(sheet: Sheet, notes: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line below the header that says something; a cell ends where its line does."""
    width, remarks = len(sheet.names), 0
    text = io.TextIOWrapper(io.BytesIO(sheet.content), "utf-8", newline=None)
    text.buffer.seek(sheet.start)
    try:
        for line, whole in enumerate(text, sheet.line):
            written = whole.rstrip("\n")
            if not written.strip():
                continue
            if written.startswith("# ") or written == "#":
                remarks += 1
                if remarks == 1:
                    notes.append(f"lines that begin with # are left out, the first of them line {line}")
                continue
            if written.count(sheet.delimiter) > 2 * MAX_COLUMNS:
                raise InvalidDataset(f"line {line} has too many cells: the header names {width} columns")
            row = written.split(sheet.delimiter) if '"' not in written else _quoted(written, sheet.delimiter, line)
            if len(row) != width:
                extra = row[width:]
                if len(row) < width and not any(sheet.names[len(row) :]):
                    row += [""] * (width - len(row))
                elif len(row) < width or any(cell.strip() for cell in extra):
                    raise InvalidDataset(
                        f"line {line} has {len(row)} cells, and the header names {width} columns"
                        + _wrong_separator(sheet, written)
                    )
            yield line, row
    except UnicodeDecodeError as error:
        raise _no_text(sheet.content) from error


def _quoted(written: str, delimiter: str, line: int) -> list[str]:
    """Cells of a line that holds quotes."""
    try:
        return next(csv.reader([written], delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise InvalidDataset(f"line {line}: {error}; a quoted cell ends in the line where it begins") from error


def _sheet(header: str, delimiter: str | None, content: bytes, start: int, line: int) -> Sheet:
    """The columns that a header names."""
    if _CONTROL.search(header):
        raise InvalidDataset(f"line {line - 1} holds control characters: this is no CSV text")
    counts = {one: header.count(one) for one in _DELIMITERS}
    delimiter = delimiter or max(_DELIMITERS, key=lambda one: counts[one])
    names = [name.strip() for name in _quoted(header, delimiter, line - 1)]
    if _are_numbers(header):
        raise InvalidDataset(
            f"line {line - 1} holds numbers, not names: the first line names the columns, as in x0,x1,y0"
        )
    if len(names) == 1 and (found := re.search(r"\S([ |:]+)\S", names[0])):
        raise InvalidDataset(
            f"a column named {shown(names[0])}: separate columns with commas, not {_called(found[1][0])}, as "
            "np.savetxt(.., delimiter=',') does; decimals with a point"
        )
    lines = max(content.count(b"\n", start), content.count(b"\r", start)) + (content[-1:] not in b"\r\n")
    return Sheet(names, delimiter, content, start, line, lines)


def _as_utf8(content: bytes) -> bytes:
    """The text as UTF-8 without a byte order mark."""
    for first, name in PACKED.items():
        if content.startswith(first) and not _is_text(content[:256]):
            advice = "send the text itself" if name not in ("Parquet", "zip") else "send it with its own content type"
            raise InvalidDataset(f"the body is {name}, not CSV text: {advice}")
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise InvalidDataset("the text is UTF-32: save it as UTF-8")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            content = content.decode("utf-16").encode()
        except UnicodeError as error:
            raise InvalidDataset("the text begins as UTF-16 and is not: save it as UTF-8") from error
    if b"\0" in content:
        line = 1 + content.count(b"\n", 0, content.index(b"\0"))
        raise InvalidDataset(f"line {line} holds a NUL byte: this is no CSV text in UTF-8 (save UTF-16 with its mark)")
    return content.removeprefix(codecs.BOM_UTF8)


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore")
    return len(text.encode()) > len(head) - 4 and not _CONTROL.search(text)


def _decoded(raw: bytes, line: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"line {line} is not UTF-8: save the file as UTF-8") from error


def _no_text(content: bytes) -> InvalidDataset:
    """The refusal of bytes that are not UTF-8, with their line."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        return InvalidDataset(f"line {line} is not UTF-8: save the file as UTF-8")
    raise AssertionError("the text was found not to be UTF-8")


def _are_numbers(text: str) -> bool:
    """Whether a line holds numbers alone."""
    parts = [part.strip().strip('"').lower() for part in re.split(r"[,;\t]", text)]
    return any(map(_is_number, parts)) and all(part in MISSING or _is_number(part) for part in parts)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text) is not None


def _wrong_separator(sheet: Sheet, written: str) -> str:
    other = next(
        (one for one in _DELIMITERS if one != sheet.delimiter and written.count(one) == len(sheet.names) - 1), ""
    )
    if other and len(sheet.names) > 1:
        return f": separate columns with {_called(sheet.delimiter)} as in the header, not {_called(other)}"
    return ""


def _called(delimiter: str) -> str:
    names = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces", "|": "|", ":": "colons"}
    return names.get(delimiter, repr(delimiter))
