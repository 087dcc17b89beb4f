"""The numbers below a CSV header, every one of them as float64.

Arrow reads them piece by piece, told beforehand that they are numbers; a piece that it does not take is read again cell
by cell, which either reads it or says the line and the reason. The first piece is always read so: it says how decimals
are written. Both ways read the same, and where commas turn up late everything is read cell by cell.
"""

import itertools
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from service.datasets.cells import MISSING, Cells
from service.datasets.csv_header import Sheet
from service.datasets.csv_text import DELIMITERS, called, cells_of, count_lines, decoded
from service.datasets.limits import MAX_COLUMNS
from service.errors import InvalidDataset

_FIRST_BYTES: Final = 32 * 1024
_PIECE_BYTES: Final = 256 * 1024
_REMARK: Final = re.compile(rb"(?:^|[\r\n])#(?:[ \r\n]|$)")
_NULLS: Final = sorted({form for word in MISSING for form in (word, word.upper(), word.title())} | {"NaN"})


class Numbers(NamedTuple):
    """The chosen columns of a table."""

    values: np.ndarray
    """(rows, columns) float64; NaN where a cell says nothing."""
    line_of: Callable[[int], int]
    """The line of a row."""
    notes: list[str]


@dataclass
class _Piece:
    """Some lines of the file, and the rows that they hold."""

    raw: bytes
    line: int
    """The number of the first."""
    values: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def line_of(self, row: int) -> int:
        """The line of one of its rows: lines that say nothing, and remarks, are none."""
        rows = (line for line, text in _lines(self.raw, self.line) if text.strip() and not _is_remark(text))
        return next(itertools.islice(rows, row, None), self.line)


def read_numbers(sheet: Sheet, places: Sequence[int]) -> Numbers:
    """The columns at these places, in this order.

    Raises:
        InvalidDataset: with the line of what is no number, or the line that has too few or too many cells.
    """
    reader = _Reader(sheet, places)
    return reader.read(quick=True) or _Reader(sheet, places).read_exactly()


class _Reader:
    """Reads the pieces of a file, remembering how its numbers are written."""

    def __init__(self, sheet: Sheet, places: Sequence[int]) -> None:
        self.sheet, self.places = sheet, places
        self.names = [sheet.names[place] for place in places]
        self.cells = Cells()
        self.has_remarks = False
        self.width = len(sheet.names)
        """Cells of the first row: a trailing comma makes one more than there are names."""
        self.notes = [] if sheet.delimiter == "," else [f"columns are separated by {called(sheet.delimiter)}"]

    def read_exactly(self) -> Numbers:
        """All numbers, cell by cell."""
        found = self.read(quick=False)
        assert found is not None
        return found

    def read(self, *, quick: bool) -> Numbers | None:
        """All numbers; None where commas turned up after pieces that were read without them in mind."""
        pieces: list[_Piece] = []
        is_sure = True
        for piece in _pieces(self.sheet):
            comma = self.cells.comma
            values = self._quickly(piece) if quick and pieces else None
            is_sure = is_sure and values is None
            if values is None:
                values = self._exactly(piece)
                if not is_sure and self.cells.comma != comma:
                    return None
            piece.values = values
            pieces.append(piece)
        if not is_sure and self.cells.comma is not None and not self.cells.decides:
            return None
        self.cells.check_commas()
        if self.cells.comma is not None:
            self.notes.append(f"commas inside numbers are decimal points ({self.cells.comma})")
        values = np.concatenate([piece.values for piece in pieces]) if pieces else np.empty((0, len(self.places)))
        ends = np.cumsum([len(piece.values) for piece in pieces])

        def line_of(row: int) -> int:
            at = int(np.searchsorted(ends, row, side="right"))
            return pieces[at].line_of(row - int(ends[at]) + len(pieces[at].values))

        return Numbers(values, line_of, self.notes)

    def _quickly(self, piece: _Piece) -> np.ndarray | None:
        """The numbers of a piece whose every cell is a plain number or missing; None where one is not."""
        if _REMARK.search(piece.raw):
            return None
        names = [str(place) for place in range(self.width)]
        chosen = [names[place] for place in self.places]
        types = {
            name: pa.bool_() if title in self.cells.of_words else pa.float64()
            for name, title in zip(chosen, self.names, strict=True)
        }
        try:
            found = pa_csv.read_csv(
                pa.BufferReader(piece.raw),
                pa_csv.ReadOptions(column_names=names),
                pa_csv.ParseOptions(delimiter=self.sheet.delimiter, newlines_in_values=False),
                pa_csv.ConvertOptions(
                    column_types=types,
                    null_values=_NULLS,
                    include_columns=[*dict.fromkeys(chosen)],
                    decimal_point="." if self.cells.comma is None else ",",
                ),
            )
        except pa.ArrowException:
            return None
        values = np.column_stack([found[name].cast(pa.float64()).to_numpy() for name in chosen])
        return None if bool(np.isinf(values).any()) else values

    def _exactly(self, piece: _Piece) -> np.ndarray:
        """The numbers of a piece, cell by cell."""
        numbers = array("d")
        for line, written in _lines(piece.raw, piece.line):
            if not written.strip():
                continue
            if _is_remark(written):
                self._note_remark(line)
                continue
            row = self._row(written, line)
            chosen = [row[place] for place in self.places]
            try:
                values = [float(cell) for cell in chosen] if written.isascii() and "_" not in written else None
            except ValueError:
                values = None
            if values is None or not math.isfinite(sum(values)):
                values = [self.cells.number(cell, line, name) for cell, name in zip(chosen, self.names, strict=True)]
            elif self.cells.point is None and "." in written:
                self.cells.look_for_point(chosen, line)
            numbers.extend(values)
        return np.frombuffer(numbers).reshape(-1, len(self.places)) if numbers else np.empty((0, len(self.places)))

    def _row(self, written: str, line: int) -> list[str]:
        """The cells of a line, as many as there are names."""
        sheet, width = self.sheet, len(self.sheet.names)
        if written.count(sheet.delimiter) > 2 * MAX_COLUMNS:
            raise InvalidDataset(f"line {line} has too many cells: the header names {width} columns")
        row = cells_of(written, sheet.delimiter, line)
        if line == sheet.line:
            self.width = len(row)
        if len(row) < width and not any(sheet.names[len(row) :]):
            row += [""] * (width - len(row))
        if len(row) < width or any(cell.strip() for cell in row[width:]):
            hint = _wrong_separator(sheet, written)
            raise InvalidDataset(f"line {line} has {len(row)} cells, and the header names {width} columns{hint}")
        return row

    def _note_remark(self, line: int) -> None:
        if not self.has_remarks:
            self.has_remarks = True
            self.notes.append(f"lines that begin with # are left out, the first of them line {line}")


def _pieces(sheet: Sheet) -> Iterator[_Piece]:
    """The lines below the header: a few, then pieces that are long beside the header, each of whole lines."""
    content, start, line = sheet.content, sheet.start, sheet.line
    size, longer = _FIRST_BYTES, max(_PIECE_BYTES, 64 * sheet.start)
    while start < len(content):
        end = content.find(b"\n", min(start + size, len(content) - 1))
        raw = content[start : end + 1 if end >= 0 else len(content)]
        yield _Piece(raw, line)
        start, line, size = start + len(raw), line + count_lines(raw), longer


def _lines(raw: bytes, line: int) -> Iterator[tuple[int, str]]:
    """Number and text of every line, without its end."""
    return enumerate(decoded(raw, line).replace("\r\n", "\n").replace("\r", "\n").split("\n"), line)


def _is_remark(written: str) -> bool:
    return written.startswith("# ") or written == "#"


def _wrong_separator(sheet: Sheet, written: str) -> str:
    """What a line with the wrong number of cells may have been meant as."""
    wanted = len(sheet.names)
    other = next((one for one in DELIMITERS if one != sheet.delimiter and written.count(one) == wanted - 1), "")
    if other and wanted > 1:
        return f": separate columns with {called(sheet.delimiter)} as in the header, not {called(other)}"
    if sheet.delimiter == "," and written.count(",") == 2 * wanted - 1:
        return ": are these decimal commas? Write points, or separate columns with semicolons"
    return ""
