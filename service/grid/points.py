"""The points of a grid: what each is, made when it is asked for out of the columns that all of them share. Pure."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from service.grid import canonical
from service.grid.building import PLACES, Build, Fitting
from service.grid.canonical import Settings
from service.grid.columns import coded, head, together
from service.grid.data_shapes import DataShape, Misfit
from service.grid.section_columns import SectionColumn
from service.grid.sections import origin_of
from service.grid.stack_keys import stack_keys
from service.grid.texts import texts_of


class Point:
    """One point of the grid, without its seeds."""

    __slots__ = ("_at", "_digest", "_of", "stack_key")

    def __init__(self, of: "Points", at: int, stack_key: str) -> None:
        self._of, self._at, self.stack_key = of, at, stack_key
        self._digest: str | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Point):
            return NotImplemented
        mine, its = ((one.digest, one.stack_key, one.shape, one.device, one.axes) for one in (self, other))
        return mine == its

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the canonical settings; made when it is first asked for, which previews seldom do."""
        if self._digest is None:
            self._digest = canonical.sha256_of(self.text)
        return self._digest

    @property
    def settings(self) -> Settings:
        """Canonical settings."""
        return {name: self.part(name) for name in self._of.layout.order}

    def part(self, section: str) -> dict[str, Any]:
        """Canonical settings of one section."""
        return self._of.settings(self._at, PLACES[section])

    @property
    def text(self) -> str:
        """Canonical settings as they are hashed."""
        return self._of.text(self._at)

    def form(self, section: str) -> dict[str, Any]:
        """Canonical settings of one section but for free numbers: one object for all points that share the rest."""
        return self._of.form(self._at, PLACES[section])

    @property
    def part_texts(self) -> list[str]:
        """Those of all sections, in the order of `PLACES`."""
        return [one.at(self._at) for one in self._of.texts]

    def part_text(self, section: str) -> str:
        """Canonical settings of one section as they are hashed."""
        return self._of.texts[PLACES[section]].at(self._at)

    @property
    def steps(self) -> int | None:
        """Updates of one trial; None for gradient flow."""
        steps = self._of.steps[self._at]
        return None if steps < 0 else steps

    @property
    def shape(self) -> DataShape:
        """Sizes of its data."""
        return self._of.fitting(self._at).shape

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of its network's layers, in the order of their numbers; none where they have numbers alone."""
        return self._of.fitting(self._at).layers

    @property
    def device(self) -> str:
        """Where to train; no part of the settings."""
        return self._of.fitting(self._at).device

    @property
    def keeps(self) -> bool:
        """Whether its trials keep the state that they end with; no part of the settings."""
        return self._of.fitting(self._at).keeps

    @property
    def axes(self) -> dict[str, Any]:
        """The value of every varying path, typed, as the user would write it."""
        return {path: self.value(path) for path in self._of.layout.paths}

    def value(self, path: str) -> Any:
        """The value at a path, as the user would write it."""
        return self._of.value(path, self._at)

    def column(self, path: str, points: np.ndarray) -> list[Any]:
        """The values at a path of points beside this one, by their numbers among all of them."""
        return self._of.values(path, points)


class Layout(NamedTuple):
    """What points of one grid share."""

    order: Sequence[str]
    """Of the sections in settings: those that vary come last."""
    paths: Sequence[str]
    """Those that vary."""


class Points:
    """Points of a grid, a column at a time: sections, how they fit each other, how they are written.

    Args:
        sections: in the order of `SECTIONS`, each a column of as many points.
        layout: what all points share.
        build: looks at them.
    """

    def __init__(self, sections: Sequence[SectionColumn], layout: Layout, build: Build) -> None:
        self.layout, self._sections, self._build = layout, sections, build
        self._count = len(sections[0].of)
        codes = np.zeros(self._count, np.int64)
        for one in sections:
            codes = together(codes, one.template[one.of])
        _, first, self._group = np.unique(codes, return_index=True, return_inverse=True)
        self._first = first.tolist()
        self._fitting: list[Fitting | list[Misfit] | None] = [None] * len(first)

    def __len__(self) -> int:
        return self._count

    def fit(self) -> None:
        """Hold sections against each other, noting what does not fit.

        Raises:
            InvalidGrid: they are more than can be looked at.
        """
        for group in sorted(range(len(self._first)), key=self._first.__getitem__):
            if self._build.problems.full:
                return
            rows = [int(one.of[self._first[group]]) for one in self._sections]
            templates = [one.templates[int(one.template[row])] for one, row in zip(self._sections, rows, strict=True)]
            if all(template is not None for template in templates):
                self._fitting[group] = self._build.fit([template.section for template in templates if template])
            self._note_misfits(group)

    def _note_misfits(self, group: int) -> None:
        """Note why the sections of a group do not fit, at every place that says one of them."""
        wrong = self._fitting[group]
        for path, message in wrong if isinstance(wrong, list) else ():
            column = self._sections[PLACES[head(path)]]
            rows = column.of[self._group == group]
            _, first = np.unique(rows, return_index=True)
            for row in rows[np.sort(first)].tolist():
                if self._build.problems.full:
                    return
                place = origin_of(path, column.origins(row))
                self._build.problems.add(place, message, received=column.value(path, row))

    def write(self) -> None:
        """Put all points, which are valid, into the form in which they are hashed.

        Raises:
            InvalidGrid: that is more than can be hashed in time.
        """
        fits = [one for one in self._fitting if isinstance(one, Fitting)]
        assert len(fits) == len(self._fitting)
        around = np.array([one.around for one in fits], np.int64)[self._group]
        self.texts = [texts_of(one, around) for one in self._sections]
        frame = len(_text("", "", "", "", "")) * self._count
        self._build.count_written(sum(one.characters() for one in self.texts) + frame)

    def some(self, chosen: np.ndarray) -> Iterator[Point]:
        """The points of these numbers."""
        keys, of = stack_keys(self._sections, self.texts)
        for at, key in zip(chosen.tolist(), of[chosen].tolist(), strict=True):
            yield Point(self, at, keys[key])

    @cached_property
    def steps(self) -> list[int]:
        """(points,) updates of a trial; -1 for gradient flow."""
        place = PLACES["training"]
        texts = self.texts[place]
        return self._sections[place].steps(texts.rows, texts.around)[texts.of].tolist()

    def text(self, at: int) -> str:
        """Canonical settings of a point as they are hashed."""
        return _text(*[one.at(at) for one in self.texts])

    def settings(self, at: int, place: int) -> dict[str, Any]:
        """Canonical settings of a section of a point."""
        texts = self.texts[place]
        return self._sections[place].settings(*texts.made_of(int(texts.of[at])))

    def form(self, at: int, place: int) -> dict[str, Any]:
        """Canonical settings of a section that a point's is a variant of."""
        texts = self.texts[place]
        return self._sections[place].form(*texts.made_of(int(texts.of[at])))

    def fitting(self, at: int) -> Fitting:
        """How the sections of a point fit each other."""
        found = self._fitting[int(self._group[at])]
        assert isinstance(found, Fitting)
        return found

    def value(self, path: str, at: int) -> Any:
        """What a point has at a path."""
        column = self._sections[PLACES[head(path)]]
        return column.value(path, int(column.of[at]))

    def values(self, path: str, points: np.ndarray) -> list[Any]:
        """What some of the points have at a path."""
        column = self._sections[PLACES[head(path)]]
        return column.values(path, column.of[points])


def first_alike(every: Sequence[Points]) -> list[np.ndarray]:
    """Numbers of those points, of each part in turn, whose settings no point before them has."""
    codes = np.zeros(sum(map(len, every)), np.int64)
    for place in PLACES.values():
        known: dict[str, int] = {}
        own = [coded(one.texts[place].different, known)[one.texts[place].of] for one in every]
        codes = together(codes, np.concatenate(own))
    _, first = np.unique(codes, return_index=True)
    ends = np.cumsum([len(one) for one in every])
    parts = np.split(np.sort(first), np.searchsorted(np.sort(first), ends[:-1]))
    return [part - (end - len(one)) for part, end, one in zip(parts, ends, every, strict=True)]


def _text(data: str, network: str, init: str, training: str, measure: str) -> str:
    """What `canonical.compact` makes of settings."""
    return f'{{"data":{data},"init":{init},"measure":{measure},"network":{network},"training":{training}}}'
