"""The points of a grid: the product of its factors without those that are dropped, and then the included ones. Pure."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from service.errors import InvalidGrid
from service.grid.axes import SECTIONS, Choice, Factor
from service.grid.building import Build
from service.grid.columns import Column, head, together
from service.grid.fitting import Limits
from service.grid.points import Layout, Point, Points
from service.grid.section_columns import SectionColumn


class Product:
    """Points by their places: those of the product from 0, then the included ones.

    Args:
        factors: axes and zip groups in written order, the last runs fastest.
        included: further points, as what they set over the trial block.
        kept: (points,) whether to have a point of the product; None for all.
        free: paths of settings that nothing else depends on in this grid.
        limits: what a trial may be.
    """

    def __init__(
        self,
        factors: Sequence[Factor],
        included: Sequence[Choice],
        kept: np.ndarray | None,
        free: frozenset[str],
        limits: Limits,
    ) -> None:
        lengths = [len(factor.choices) for factor in factors]
        count = math.prod(lengths)
        self.places: np.ndarray = np.arange(count) if kept is None else np.flatnonzero(kept)
        """Of the points of the product that are left."""
        self._choices = [self.places // math.prod(lengths[at + 1 :]) % length for at, length in enumerate(lengths)]
        """Of every factor, (points,) its choice."""
        self._paths = [factor.paths for factor in factors]
        self._columns = {
            name: [
                (self._choices[at], Column(factor, name, free, limits))
                for at, factor in enumerate(factors)
                if any(head(path) == name for path in factor.paths)
            ]
            for name in SECTIONS
        }
        last = Factor(tuple(included))
        self._last_paths = last.paths
        self._first_included = count
        self._last_places = count + np.arange(len(included))
        every = np.arange(len(included))
        self._last = {name: [(every, Column(last, name, free, limits))] for name in SECTIONS}

    def looks(self) -> int:
        """How many points differ in more than free numbers, each of which is looked at."""
        codes = np.zeros(len(self.places), np.int64)
        for choices, column in itertools.chain(*self._columns.values()):
            codes = together(codes, column.kinds[choices])
        return len(np.unique(codes)) + len(self._last_places)

    def points(self, build: Build) -> Iterator[tuple[int, Point]]:
        """Every point with its place; several of them may be the same.

        Raises:
            InvalidGrid: some are not valid, or all are more than can be looked at.
        """
        fixed = [name for name, columns in self._columns.items() if not columns]
        paths = list(dict.fromkeys(itertools.chain(*self._paths, self._last_paths)))
        layout = Layout((*fixed, *(name for name in SECTIONS if name not in fixed)), paths)
        last = layout._replace(order=tuple(SECTIONS))
        every = [(self.places, self._columns, layout), (self._last_places, self._last, last)]
        made = [
            (places, Points([SectionColumn(*one, len(places), build) for one in columns.items()], own, build))
            for places, columns, own in every
            if len(places)
        ]
        for _, points in made:
            points.fit()
        build.problems.raise_as(InvalidGrid)
        for _, points in made:
            points.write()
        for places, points in made:
            yield from zip(places.tolist(), points.all(), strict=True)

    def axes(self, points: Mapping[int, Point]) -> dict[str, list[Any]]:
        """Values of each varying path in order of appearance, of points by their places."""
        places = np.fromiter(points, np.int64, len(points))
        of_product = places < self._first_included
        own = np.searchsorted(self.places, places[of_product])
        included = [points[place] for place in places[~of_product].tolist()]
        found: dict[str, dict[str, Any]] = {}
        for choices, paths in zip(self._choices, self._paths, strict=True):
            _, first = np.unique(choices[own], return_index=True)
            shown = own[np.sort(first)]
            for path in paths:
                _note(found, path, points[int(places[0])].column(path, shown) if len(shown) else [])
        for path in list(found):
            _note(found, path, [point.value(path) for point in included])
        for path in self._last_paths:
            if path not in found:
                _note(found, path, [point.value(path) for point in points.values()])
        return {path: list(values.values()) for path, values in found.items()}


def _note(found: dict[str, dict[str, Any]], path: str, given: Sequence[Any]) -> None:
    """Add values that points have at a path to those that were found before."""
    values = found.setdefault(path, {})
    for value in given:
        values.setdefault(repr(value), value)
