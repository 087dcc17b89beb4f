"""The product of a grid's factors: the sections of every point in written order, and what each axis has. Pure."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from service.grid.axes import SECTIONS, Choice, Factor
from service.grid.building import PLACES, AnySection, Build, Layout, Point
from service.grid.columns import Column, head
from service.grid.fitting import Limits

Sections = tuple[AnySection, ...]
"""The five sections of a point."""


class Product:
    """Points by their places: those of the product from 0, then the included ones.

    Args:
        factors: axes and zip groups in written order, the last runs fastest.
        included: further points, as what they set over the trial block.
        free: paths of settings that nothing else depends on in this grid.
        limits: what a trial may be.
    """

    def __init__(
        self, factors: Sequence[Factor], included: Sequence[Choice], free: frozenset[str], limits: Limits
    ) -> None:
        self._lengths = [len(factor.choices) for factor in factors]
        self._paths = [factor.paths for factor in factors]
        self._points = math.prod(self._lengths)
        self._columns = {
            name: [
                (index, Column(factor, name, free, limits))
                for index, (factor, paths) in enumerate(zip(factors, self._paths, strict=True))
                if any(head(path) == name for path in paths)
            ]
            for name in SECTIONS
        }
        self._included = len(included)
        last = Factor(tuple(included))
        self._last_paths = last.paths
        self._last = {name: Column(last, name, free, limits) for name in SECTIONS}

    def sections(self, build: Build, kept: np.ndarray | None) -> Iterator[tuple[int, Sections]]:
        """The sections of every point that is not dropped, with its place; those of included points last.

        Args:
            build: validates them.
            kept: (points,) whether to look at a point of the product; None for all.
        """
        blank = [None if columns else build.section(name, ()) for name, columns in self._columns.items()]
        varied = [(PLACES[name], _Varied(name, columns)) for name, columns in self._columns.items() if columns]
        product = itertools.product(*map(range, self._lengths))
        places = enumerate(product) if kept is None else itertools.compress(enumerate(product), kept.tolist())
        for place, indices in places:
            sections: list[Any] = blank.copy()
            for at, one in varied:
                sections[at] = one.section(build, indices)
            yield place, tuple(sections)
        for index in range(self._included):
            own = [build.section(name, (column.said(index),)) for name, column in self._last.items()]
            yield self._points + index, tuple(own)

    def looks(self, kept: np.ndarray | None) -> int:
        """How many points differ in more than free numbers, each of which is looked at."""
        places = np.arange(self._points) if kept is None else np.flatnonzero(kept)
        codes = np.zeros(len(places), np.int64)
        for index, length in enumerate(self._lengths):
            kinds: dict[Any, int] = {}
            columns = [column for columns in self._columns.values() for at, column in columns if at == index]
            every = [tuple([column.said(choice).kind for column in columns]) for choice in range(length)]
            numbers = np.array([kinds.setdefault(kind, len(kinds)) for kind in every], np.int64)
            own = numbers[places // math.prod(self._lengths[index + 1 :]) % length]
            _, codes = np.unique(codes * len(kinds) + own, return_inverse=True)
        return int(codes.max(initial=-1)) + 1 + self._included

    def layout(self) -> Layout:
        """What points of the product share, and included ones but for their order."""
        fixed = [name for name, columns in self._columns.items() if not columns]
        paths = list(dict.fromkeys(itertools.chain(*self._paths, self._last_paths)))
        return Layout((*fixed, *(name for name in SECTIONS if name not in fixed)), paths)

    def is_included(self, place: int) -> bool:
        """Whether the point at a place is an included one."""
        return place >= self._points

    def axes(self, points: Mapping[int, Point]) -> dict[str, list[Any]]:
        """Values of each varying path in order of appearance, of points by their places."""
        own = np.array([place for place in points if not self.is_included(place)], np.int64)
        included = [point for place, point in points.items() if self.is_included(place)]
        found: dict[str, dict[str, Any]] = {}
        for index, paths in enumerate(self._paths):
            step = math.prod(self._lengths[index + 1 :])
            _, first = np.unique(own // step % self._lengths[index], return_index=True)
            shown = [points[place] for place in own[np.sort(first)].tolist()]
            _note(found, paths, shown)
        _note(found, list(found), included)
        _note(found, [path for path in self._last_paths if path not in found], list(points.values()))
        return {path: list(values.values()) for path, values in found.items()}


class _Varied:
    """A section that some factors set: made once for each combination of their choices."""

    def __init__(self, name: str, columns: Sequence[tuple[int, Column]]) -> None:
        self.name, self._columns = name, columns
        self._key: Callable[[tuple[int, ...]], Any] = itemgetter(*(index for index, _ in columns))
        self._known: dict[Any, AnySection] = {}

    def section(self, build: Build, indices: tuple[int, ...]) -> AnySection:
        """Of the point with these choices."""
        key = self._key(indices)
        found = self._known.get(key)
        if found is None:
            said = tuple([column.said(indices[index]) for index, column in self._columns])
            found = self._known[key] = build.section(self.name, said)
        return found


def _note(found: dict[str, dict[str, Any]], paths: Sequence[str], points: Sequence[Point]) -> None:
    """Add the values that points have at these paths to those that were found before."""
    for path in paths:
        values, place = found.setdefault(path, {}), PLACES[head(path)]
        for point in points:
            value = point.sections[place].value(path)
            values.setdefault(repr(value), value)
