"""What a cell of a CSV file says: a number, nothing, or something that is refused with its line. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from service.datasets.limits import shown
from service.errors import InvalidDataset

MISSING: Final = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "?", "."})
_WORDS: Final = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_THOUSANDS: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


@dataclass
class Cells:
    """Reads cells one after the other, remembering what decides how commas inside them are meant."""

    comma: str | None = None
    """The first cell with a decimal comma, and its line."""
    point: str | None = None
    """The first cell with a point, and its line."""
    decides: bool = False
    """Whether some comma can only be a decimal one."""
    of_words: set[str] = field(default_factory=set)
    """Columns that have said true or false."""

    def number(self, text: str, line: int, column: str) -> float:
        """The number in a cell; NaN where it says that there is none.

        Raises:
            InvalidDataset: anything else, with the line and the column.
        """
        self.look_for_point([text], line)
        word = text.strip().lower()
        if word in _WORDS:
            self.of_words.add(column)
            return _WORDS[word]
        try:
            if word.isascii() and "_" not in word:
                return _finite(float(word), text, line, column)
        except ValueError:
            pass
        if word in MISSING:
            return float("nan")
        if _DECIMAL_COMMA.fullmatch(word):
            self.comma = self.comma or f"{word} in line {line}"
            self.decides = self.decides or not _THOUSANDS.fullmatch(word)
            return _finite(float(word.replace(",", ".")), text, line, column)
        raise InvalidDataset(
            f"line {line}, column {shown(column)}: {shown(text.strip())!r} is not a number{_hint(word)}"
        )

    def look_for_point(self, texts: Iterable[str], line: int) -> None:
        """Remember the first cell with a point."""
        if self.point is None:
            found = next((text for text in texts if "." in text.strip(" .")), None)
            self.point = None if found is None else f"{shown(found.strip())} in line {line}"

    def check_commas(self) -> None:
        """Refuse a file whose commas may mean two things. Raises InvalidDataset."""
        if self.comma is None:
            return
        said = self.comma.partition(" ")[0]
        if self.point is not None:
            raise InvalidDataset(
                f"{self.comma} has a comma and {self.point} a point: write every number with a point, without "
                "separators of thousands"
            )
        if not self.decides:
            raise InvalidDataset(
                f"{self.comma} may be {said.replace(',', '.')} or {said.replace(',', '')}: write numbers with a point, "
                "without separators of thousands"
            )


def _finite(value: float, text: str, line: int, column: str) -> float:
    if value in (float("inf"), float("-inf")):
        raise InvalidDataset(
            f"line {line}, column {shown(column)}: {shown(text.strip())!r} is infinite or too large; finite numbers "
            "are needed"
        )
    return value


def _hint(word: str) -> str:
    """What to do about a cell that almost is a number."""
    if re.fullmatch(r"[+-]?[\d., ']*\d", word):
        return ": write it with a point, without separators of thousands"
    if re.fullmatch(r"[+-]?[\d.]+\s*[%$€£]", word):
        return ": leave the unit away"
    if re.fullmatch(r"[+-]?[\d.]+d[+-]?\d+", word):
        return ": write exponents with e"
    return ""
