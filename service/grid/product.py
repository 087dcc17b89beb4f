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
from service.grid.derived import Derived
from service.grid.fitting import Limits
from service.grid.points import Layout, Point, Points, first_alike
from service.grid.section_columns import SectionColumn


class Product:
    """Points by their places: those of the product from 0, then the included ones.

    Args:
        factors: axes and zip groups in written order, the last runs fastest, without formulas.
        included: further points, as what they set over the trial block.
        derived: settings that follow from those of factors.
        varied: paths of each factor and then of included points, as they are written.
        kept: (points,) whether to have a point of the product; None for all.
        free: paths of settings that nothing else depends on in this grid.
        limits: what a trial may be.
    """

    def __init__(
        self,
        factors: Sequence[Factor],
        included: Sequence[Choice],
        derived: Derived,
        varied: Sequence[Sequence[str]],
        kept: np.ndarray | None,
        free: frozenset[str],
        limits: Limits,
    ) -> None:
        self._derived = tuple(derived.deciding)
        lengths = [len(factor.choices) for factor in factors]
        count = math.prod(lengths)
        self.places: np.ndarray = np.arange(count) if kept is None else np.flatnonzero(kept)
        """Of the points of the product that are left."""
        self._choices = [self.places // math.prod(lengths[at + 1 :]) % length for at, length in enumerate(lengths)]
        """Of every factor, (points,) its choice."""
        *self._paths, self._last_paths = varied
        self._columns = {name: [] for name in SECTIONS}
        following = self._following(derived, lengths)
        for choices, factor in [*zip(self._choices, factors, strict=True), *following]:
            for name in dict.fromkeys(map(head, factor.paths)):
                self._columns[name].append((choices, Column(factor, name, free, limits)))
        last = Factor(tuple(included))
        self._first_included = count
        self._last_places = count + np.arange(len(included))
        every = np.arange(len(included))
        self._last = {name: [(every, Column(last, name, free, limits))] for name in SECTIONS}

    def _following(self, derived: Derived, lengths: Sequence[int]) -> list[tuple[np.ndarray, Factor]]:
        """Of settings that follow from the same factors, (points,) which of their values each point has, and these."""
        by_factors: dict[tuple[int, ...], list[str]] = {}
        for path, deciding in derived.deciding.items():
            by_factors.setdefault(deciding, []).append(path)
        found = []
        for deciding, paths in by_factors.items():
            if deciding:
                own = [self._choices[at] for at in deciding]
                codes = np.ravel_multi_index(own, [lengths[at] for at in deciding])
                _, first, of = np.unique(codes, return_index=True, return_inverse=True)
                rows = {at: choices[first] for at, choices in zip(deciding, own, strict=True)}
                found.append((of, Factor(derived.table(paths, rows, len(first)))))
        return found

    def looks(self) -> int:
        """How many points, and sections of them, differ in more than free numbers, each of which is looked at."""
        every, looks = np.zeros(len(self.places), np.int64), len(self._last_places)
        for columns in self._columns.values():
            own = np.zeros(len(self.places), np.int64)
            for choices, column in columns:
                own = together(own, column.kinds[choices])
            looks += len(np.unique(own)) if columns else 0
            every = together(every, own)
        return looks + len(np.unique(every))

    def points(self, build: Build) -> Iterator[tuple[int, Point]]:
        """Every point with its place; of several that are the same, the first.

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
        different = first_alike([points for _, points in made]) if made else []
        for (places, points), chosen in zip(made, different, strict=True):
            yield from zip(places[chosen].tolist(), points.some(chosen), strict=True)

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
                # what follows from several axes has more values than the one that it is written in has choices
                some = own if path in self._derived else shown
                _note(found, path, points[int(places[0])].column(path, some) if len(some) else [])
        for path in list(found):
            _note(found, path, [point.value(path) for point in included])
        for path in self._last_paths:
            if path not in found:
                _note(found, path, [point.value(path) for point in points.values()])
        return {path: list(values.values()) for path, values in found.items()}

    def derived(self, points: Mapping[int, Point]) -> dict[str, list[Any]]:
        """Values of settings that follow from others and are on no axis, in order of appearance."""
        paths = [path for path in self._derived if path not in itertools.chain(*self._paths, self._last_paths)]
        found: dict[str, dict[str, Any]] = {}
        places = np.fromiter(points, np.int64, len(points))
        own = np.searchsorted(self.places, places[places < self._first_included])
        for path in paths:
            _note(found, path, points[int(places[0])].column(path, own) if len(own) else [])
            included = (point for place, point in points.items() if place >= self._first_included)
            _note(found, path, [point.value(path) for point in included])
        return {path: list(values.values()) for path, values in found.items()}


def _note(found: dict[str, dict[str, Any]], path: str, given: Sequence[Any]) -> None:
    """Add values that points have at a path to those that were found before."""
    values = found.setdefault(path, {})
    for value in given:
        values.setdefault(repr(value), value)
