"""Tables of the command line, as wide as the terminal: numbers are never broken, titles behind their words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

_LEAST_TEXT: Final = 12
"""Letters to which a column of text may shrink."""
_LEAST_TITLE: Final = 4
"""And a title, where not all fit."""


class Need(NamedTuple):
    """Letters that a column takes."""

    least: int
    """With its title in pieces, text in lines and numbers whole."""
    in_words: int
    """With its title broken behind words."""
    in_lines: int
    """With nothing broken."""


class PlainTable:
    """Titles above rows, without lines."""

    def __init__(self, columns: Mapping[str, JustifyMethod], rows: Iterable[Sequence[str | Text]]) -> None:
        self._columns, self._rows = columns, list(rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needs = [
            need_of(title, [str(row[place]) for row in self._rows], is_text=justify == "left")
            for place, (title, justify) in enumerate(self._columns.items())
        ]
        widths, gap = widths_of(needs, options.max_width)
        made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
        for (title, justify), width in zip(self._columns.items(), widths, strict=True):
            made.add_column(title, justify=justify, overflow="fold", width=width)
        for row in self._rows:
            made.add_row(*row)
        yield made


def need_of(title: str, cells: Sequence[str], *, is_text: bool) -> Need:
    """What a column takes with these cells; one of text may break anywhere."""
    word = max((len(word) for cell in cells for word in cell.split()), default=1)
    named = max((len(word) for word in title.split()), default=1)
    least = max(min(word, _LEAST_TEXT) if is_text else word, min(named, _LEAST_TITLE))
    in_words = max(least, named)
    return Need(least, in_words, max(in_words, len(title), *map(len, cells), 1))


def widths_of(needs: Sequence[Need], width: int) -> tuple[list[int | None], int]:
    """A width for each column, and the letters between two; None where numbers do not fit side by side.

    Args:
        needs: of each column.
        width: letters of a line.
    """
    between = max(len(needs) - 1, 0)
    for gap in (2, 1):
        found = [one.in_words for one in needs]
        if sum(found) + gap * between <= width or gap == 1:
            break
    room = width - gap * between
    if sum(found) > room:
        found = [one.least for one in needs]
        if sum(found) > room:
            return [None] * len(needs), gap
        found = _raised(found, [one.in_words for one in needs], room)
    return [*_raised(found, [one.in_lines for one in needs], room)], gap


def _raised(widths: Sequence[int], wanted: Sequence[int], room: int) -> list[int]:
    """Widths brought nearer to those that are wanted, the columns that lack least first, within the room."""
    found = list(widths)
    for place in sorted(range(len(found)), key=lambda place: wanted[place] - found[place]):
        found[place] += min(wanted[place] - found[place], room - sum(found))
    return found
