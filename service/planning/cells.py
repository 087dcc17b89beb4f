"""The boundary curve of a phase diagram: cells whose corners disagree are cut in four, the others left alone. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.questions.brackets import Axis

Place = tuple[float, float]
"""A value on the first axis, and one on the second."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A rectangle between neighbouring values of both axes."""

    low: Place
    high: Place

    @property
    def corners(self) -> tuple[Place, ...]:
        """Its four corners."""
        (left, bottom), (right, top) = self.low, self.high
        return ((left, bottom), (right, bottom), (left, top), (right, top))


@dataclass(frozen=True, slots=True)
class Curve:
    """What is known of the boundary in a plane of two axes."""

    crossed: tuple[Cell, ...]
    """The smallest cells that the boundary goes through."""
    add: tuple[Place, ...]
    """Places to try next."""
    undefined: tuple[Place, ...]
    """Places without a verdict."""

    @property
    def is_found(self) -> bool:
        """Whether every crossed cell is within the tolerance on both axes."""
        return not self.add


def follow_curve(
    verdicts: Mapping[Place, bool | None], first: Sequence[float], second: Sequence[float], axes: tuple[Axis, Axis]
) -> Curve:
    """The boundary through a plane and what to try next.

    A quadtree over the cells of the grid as it was submitted. It has no memory: which cells were cut follows from
    which places have been tried, so that a round can be planned by anybody from the store alone.

    Args:
        verdicts: place -> whether the statement holds there; None where it cannot be told.
        first: values of the first axis in the grid, increasing.
        second: of the second axis.
        axes: how values between two others are chosen on each.
    """
    crossed: list[Cell] = []
    add: dict[Place, None] = {}
    for left, right in pairwise(first):
        for bottom, top in pairwise(second):
            for cell, missing in _looked_at(Cell((left, bottom), (right, top)), verdicts, axes):
                crossed.append(cell)
                add.update(dict.fromkeys(missing))
    undefined = tuple(sorted(place for place, verdict in verdicts.items() if verdict is None))
    return Curve(tuple(crossed), tuple(add), undefined)


def _looked_at(
    cell: Cell, verdicts: Mapping[Place, bool | None], axes: tuple[Axis, Axis]
) -> Iterator[tuple[Cell, list[Place]]]:
    """The smallest crossed cells inside of a cell, each with the places that cutting it needs."""
    waiting = [cell]
    while waiting:
        one = waiting.pop()
        parts, places = _cut(one, axes)
        seen = {verdicts[place] for place in (*one.corners, *places) if verdicts.get(place) is not None}
        if len(seen) < 2:
            continue
        missing = [place for place in places if place not in verdicts]
        if len(parts) == 1 or missing:
            yield one, missing
        else:
            waiting += parts


def _cut(cell: Cell, axes: tuple[Axis, Axis]) -> tuple[list[Cell], list[Place]]:
    """The parts of a cell, itself where it is small enough, and those of their corners that are not its own."""
    (left, bottom), (right, top) = cell.low, cell.high
    across, up = axes[0].between(left, right), axes[1].between(bottom, top)
    columns = [left, right] if across is None else [left, across, right]
    rows = [bottom, top] if up is None else [bottom, up, top]
    parts = [Cell((start, low), (end, high)) for (start, end) in pairwise(columns) for (low, high) in pairwise(rows)]
    places = [(x, y) for x in columns for y in rows if (x, y) not in cell.corners]
    return parts, places
