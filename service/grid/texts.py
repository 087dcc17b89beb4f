"""How a section of many points is hashed: each different text once. Pure."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.grid.building import SEEING_OTHERS
from service.grid.section_columns import SectionColumn


@dataclass(frozen=True)
class Texts:
    """Canonical forms of a section, as they are hashed."""

    different: list[str]
    of: np.ndarray
    """(points,) which of them each point has."""
    rows: np.ndarray
    """(different,) rows of the section's column."""
    around: np.ndarray
    """(different,) which surroundings they have."""

    def at(self, point: int) -> str:
        """That of one point."""
        return self.different[self._places[point]]

    @cached_property
    def _places(self) -> list[int]:
        return self.of.tolist()

    def made_of(self, text: int) -> tuple[int, int]:
        """Row and surroundings of a text."""
        return int(self.rows[text]), int(self.around[text])

    def characters(self) -> int:
        """Of all points together."""
        lengths = np.fromiter(map(len, self.different), np.int64, len(self.different))
        return int(lengths[self.of].sum())


def texts_of(column: SectionColumn, around: np.ndarray) -> Texts:
    """How the sections of points are hashed.

    Args:
        column: the sections.
        around: (points,) which surroundings each has.
    """
    if column.name in SEEING_OTHERS:
        pairs, of = np.unique(around * column.rows + column.of, return_inverse=True)
        arounds, rows = pairs // column.rows, pairs % column.rows
    else:
        of, rows, arounds = column.of, np.arange(column.rows), np.zeros(column.rows, np.int64)
    different: list[str] = []
    starts = np.flatnonzero(np.diff(arounds, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        different += column.texts(rows[start:end], int(arounds[start]))
    return Texts(different, of, rows, arounds)
