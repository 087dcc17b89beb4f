"""The sections of many points of a grid, a column at a time: which are different, and how each is written. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np

from service.grid import canonical
from service.grid.building import Build, Template
from service.grid.columns import Column, coded, together
from service.grid.free_settings import NONE, Numbers, unlike
from service.grid.written import Written

_OWN: Final = object()
Part = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Some of the settings of a section."""
MANY_WRONG: Final = 200
"""Sections that are wrong in what they share, of which each is looked at."""


class SectionColumn:
    """One section of many points.

    Args:
        name: of the section.
        columns: what axes say about it, with (points,) the choice of each point.
        points: how many there are.
        build: looks at them.
    """

    def __init__(self, name: str, columns: Sequence[tuple[np.ndarray, Column]], points: int, build: Build) -> None:
        self.name, self._columns, self._build = name, [column for _, column in columns], build
        codes = np.zeros(points, np.int64)
        for choices, _ in columns:
            codes = together(codes, choices)
        _, first, of = np.unique(codes, return_index=True, return_inverse=True)
        self.of: np.ndarray = of
        """(points,) the row of each point: those of one row have the same section."""
        self._choices = [choices[first] for choices, _ in columns]
        """Of every column, (rows,) the choice."""
        self.templates: list[Template | None] = []
        """None where it is invalid."""
        self.template: np.ndarray = self._read()
        """(rows,) the template of each row."""

    @property
    def rows(self) -> int:
        """How many sections are different, or written differently."""
        return len(self.template)

    def _read(self) -> np.ndarray:
        """Validate one section of every kind, or each of a kind in which the numbers decide about others."""
        kinds = np.zeros(len(self._choices[0]) if self._choices else 1, np.int64)
        if not len(kinds):
            return kinds
        for choices, column in zip(self._choices, self._columns, strict=True):
            kinds = together(kinds, column.kinds[choices])
        order = np.argsort(kinds, kind="stable")
        starts = np.flatnonzero(np.diff(kinds[order], prepend=-1))
        found = np.zeros(len(kinds), np.int64)
        # in the order in which points have them, which is that of what is told
        for rows in sorted(np.split(order, starts[1:]), key=lambda one: one[0]):
            self._look_at(rows, found)
        return found

    def _look_at(self, rows: np.ndarray, found: np.ndarray) -> None:
        """Make the templates of rows of one kind, noting in `found` which of them each has."""
        found[rows] = len(self.templates)
        self._add(int(rows[0]))
        first = self.templates[-1]
        if first is not None and first.own.issuperset(self._own(int(rows[0]))):
            deciding = self._deciding(rows, first)
            for pattern in range(1, int(deciding.max()) + 1):
                some = rows[deciding == pattern]
                found[some] = len(self.templates)
                self._add(int(some[0]))
            return
        if first is not None:
            # the others differ in more than free numbers: each is looked at as a whole
            self.templates[-1] = first._replace(own=frozenset(), has_key=False)
        # of wrong ones some tell enough
        for row in rows[1 : None if first is not None else MANY_WRONG].tolist():
            if self._build.problems.full:
                break
            found[row] = len(self.templates)
            self._add(row)
            if (one := self.templates[-1]) is not None:
                self.templates[-1] = one._replace(own=frozenset(), has_key=False)

    def _deciding(self, rows: np.ndarray, template: Template) -> np.ndarray:
        """Numbers from 0 that are equal for rows whose numbers decide the same about other settings."""
        assert template.section.model is not None
        found = np.zeros(len(rows), np.int64)
        for name, deciding in unlike(template.section.model).items():
            if name in template.own:
                choices, numbers = self._numbers[name]
                values = [numbers.values[at] for at in choices[rows].tolist()]
                found = together(found, coded([value if value in deciding else None for value in values]))
        return coded(found.tolist())

    def _add(self, row: int) -> None:
        if self._build.problems.full:
            self.templates.append(None)
        else:
            self.templates.append(self._build.template(self.name, self._parts(row), self._own(row)))

    def _parts(self, row: int) -> list[Any]:
        return [part for at, one in self._placed(row) for part in one.parts(at)]

    def _placed(self, row: int) -> Iterator[tuple[int, Column]]:
        """The choice of a row in every column."""
        return ((int(own[row]), column) for own, column in zip(self._choices, self._columns, strict=True))

    def _own(self, row: int) -> frozenset[str]:
        """Names of the free numbers that a row sets."""
        every = ((at, numbers) for at, one in self._placed(row) for numbers in one.numbers.items())
        return frozenset(name for at, (name, numbers) in every if numbers.signs[at] != NONE)

    @cached_property
    def _numbers(self) -> Mapping[str, tuple[np.ndarray, Numbers]]:
        """Name of a free setting -> (rows,) where its number is, and all of its numbers."""
        found = {}
        for choices, column in zip(self._choices, self._columns, strict=True):
            found |= {name: (choices, numbers) for name, numbers in column.numbers.items()}
        return found

    def origins(self, row: int) -> dict[str, str]:
        """Dotted path -> place in the document that the row has it from."""
        return {part.path: part.origin for part in self._parts(row)}

    def texts(self, rows: np.ndarray, around: int, part: Part | None = None) -> list[str]:
        """How the sections of rows, or a part of each, are hashed where these are their surroundings; "" for invalid
        ones."""
        found: list[str] = [""] * len(rows)
        for template, members in self._by_template(rows):
            written = self._build.written(template.section, around)
            own = rows[members]
            if part is None:
                self._build.count_made(len(written.text) * len(own))
            else:
                written = Written(part(written.settings))
            numbers = {name: self._taken(name, own) for name in template.own}
            numbers |= self._following(template, own)
            texts = written.texts(numbers, len(own))
            if len(own) == len(found):
                return texts
            for at, text in zip(members.tolist(), texts, strict=True):
                found[at] = text
        return found

    def _taken(self, name: str, rows: np.ndarray) -> list[str]:
        choices, numbers = self._numbers[name]
        return [numbers.texts[at] for at in choices[rows].tolist()]

    def _following(self, template: Template, rows: np.ndarray) -> dict[str, list[str]]:
        """Numbers of further fields that follow from those of rows, as they are hashed."""
        assert template.section.model is not None
        found: dict[str, list[str]] = {}
        for name in template.own:
            choices, numbers = self._numbers[name]
            plain = [numbers.plain[at] for at in choices[rows].tolist()]
            further = canonical.following(template.section.model, name, plain)
            found |= {field: list(map(repr, own)) for field, own in further.items()}
        return found

    def _by_template(self, rows: np.ndarray) -> Iterator[tuple[Template, np.ndarray]]:
        """The valid templates of rows, each with the places of its own among them."""
        of = self.template[rows]
        order = np.argsort(of, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(of[order])) + 1):
            if len(members) and (template := self.templates[int(of[members[0]])]) is not None:
                yield template, members

    def examples(self) -> list[int]:
        """A row of every template."""
        return np.unique(self.template, return_index=True)[1].tolist()

    def own(self, row: int) -> frozenset[str]:
        """Names of the free numbers in which a row differs from its template."""
        return self._template(row).own

    def has_key(self, row: int) -> bool:
        """Whether these numbers decide with what the row may be trained."""
        return self._template(row).has_key

    def form(self, row: int, around: int) -> dict[str, Any]:
        """Canonical form of the section that a row is a variant of."""
        return self._build.written(self._template(row).section, around).settings

    def settings(self, row: int, around: int) -> dict[str, Any]:
        """Canonical form of the section of a row."""
        template = self._template(row)
        written = self._build.written(template.section, around)
        return written.with_numbers(self.numbers(row).items())

    def steps(self, rows: np.ndarray, arounds: np.ndarray) -> np.ndarray:
        """(rows,) updates of a trial with the training of each row, in these surroundings; -1 for gradient flow."""
        found = np.full(len(rows), -1, np.int64)
        for template, members in self._by_template(rows):
            form = self._build.written(template.section, int(arounds[members[0]])).settings
            if "steps" in form and "steps" in template.own:
                choices, numbers = self._numbers["steps"]
                found[members] = [numbers.plain[at] for at in choices[rows[members]].tolist()]
            elif "steps" in form:
                found[members] = form["steps"]
        return found

    def numbers(self, row: int) -> dict[str, Any]:
        """Numbers, as canonical form has them, in which a row may differ from its template."""
        template = self._template(row)
        assert template.section.model is not None
        found = {}
        for name in template.own:
            found[name] = self._number(name, row, "plain")
            further = canonical.following(template.section.model, name, [found[name]])
            found |= {field: one for field, (one,) in further.items()}
        return found

    def _template(self, row: int) -> Template:
        found = self.templates[int(self.template[row])]
        assert found is not None
        return found

    def _number(self, name: str, row: int, how: str) -> Any:
        choices, numbers = self._numbers[name]
        return getattr(numbers, how)[int(choices[row])]

    def value(self, path: str, row: int) -> Any:
        """What a row has at a path into the section: typed, as the user would write it."""
        template = self._template(row)
        name = path.partition(".")[2]
        return self._number(name, row, "values") if name in template.own else template.section.value(path)

    def values(self, path: str, rows: np.ndarray) -> list[Any]:
        """What rows have at a path into the section."""
        name = path.partition(".")[2]
        # of each template once: there are few, and half a million rows
        shared: dict[int, Any] = {}
        own = self._own_values(name, rows)
        found = []
        for at, of in enumerate(self.template[rows].tolist()):
            if of not in shared:
                template = self._template(int(rows[at]))
                shared[of] = _OWN if name in template.own else template.section.value(path)
            found.append(own[at] if shared[of] is _OWN else shared[of])
        return found

    def _own_values(self, name: str, rows: np.ndarray) -> Sequence[Any]:
        """What rows say themselves of a free setting; where a row's template has it as its own, that is its value."""
        if name not in self._numbers:
            return ()
        choices, numbers = self._numbers[name]
        return [numbers.values[at] for at in choices[rows].tolist()]
