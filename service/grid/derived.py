"""Settings of a grid that follow from others: formulas are found, held against each other, and resolved. Pure.

What a formula comes to depends on the choices of some factors: those that set what it reads, and the one that it is
written in. It is taken out of the trial block or the axis, and resolved for the combinations of choices that there are.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from service.errors import InvalidGrid
from service.grid.axes import (
    PATHS,
    SECTIONS,
    Assignment,
    Choice,
    Factor,
    Table,
    flattened,
    overlap,
)
from service.grid.canonical import holds_float
from service.grid.formula_places import (
    GRAMMAR,
    block_without,
    column_of,
    factor_without,
    formula_columns,
    has_formula,
    is_setting,
    texts_in,
)
from service.grid.formulas import FUNCTIONS, Formula, FormulaError, NoNumber, Unknown, parse
from service.grid.problems import Problems, nearest
from service.grid.sections import merge_section, value_at
from service.grid.tokens import UNSAID

MAX_STEPS: Final = 2_500_000
"""Operations of all formulas of a grid for all of its points together."""
MAX_CHARACTERS: Final = 1_000_000
"""In all different formulas of a grid."""

Blocks = Mapping[str, Mapping[str, Any]]
Rows = Mapping[int, np.ndarray]
"""Factor -> (rows,) its choice."""


class Derived:
    """The formulas of a trial block and of factors over it.

    Args:
        blocks: the trial block by section.
        factors: axes and zip groups.
        problems: where wrong formulas are noted.
    """

    def __init__(self, blocks: Blocks, factors: Sequence[Factor], problems: Problems) -> None:
        self._problems, self._parsed, self._steps, self._characters = problems, dict[str, Formula | None](), 0, 0
        self._columns = {path: (at, column) for at, one in enumerate(factors) for path, column in formula_columns(one)}
        # most grids have none, and half a million settings take a while to name
        has_some = self._columns or any(map(has_formula, blocks.values()))
        self._written = {
            part.path: part
            for name in (SECTIONS if has_some else ())
            for part in flattened(name, blocks[name], f"trial.{name}")
        }
        self._blocks, self._factors = blocks, factors
        own = [path for path, part in self._written.items() if has_formula(part.value)]
        self._setters = {path: at for at, factor in enumerate(factors) for path in factor.paths}
        self.reads: dict[str, tuple[str, ...]] = {path: self._read(path) for path in (*self._columns, *own)}
        """Path that follows from others -> the paths of these."""
        self._order = self._in_order()
        self._refuse_wholes()
        self.deciding: dict[str, tuple[int, ...]] = {}
        """Path that follows from others -> the factors that decide its value."""
        for path in self._order if not problems else ():
            before = [self.deciding.get(one) or self._setting(one) for one in self.reads[path]]
            self.deciding[path] = tuple(sorted({*self._setting(path), *itertools.chain(*before)}))

    def __bool__(self) -> bool:
        return bool(self.reads)

    def _read(self, path: str) -> tuple[str, ...]:
        """Paths that the formulas at a path read; wrong ones are noted."""
        found: dict[str, None] = {}
        values = [(-1, self._written[path].value)] if path in self._written else []
        values += enumerate(self._columns[path][1]) if path in self._columns else ()
        for row, value in values:
            for text in texts_in(value):
                if self._problems.full:
                    break
                at = self._written[path].origin if row < 0 else row
                if (formula := self._formula(text, path, at)) is not None and formula.paths:
                    found |= dict.fromkeys(formula.paths)
        return tuple(found)

    def _formula(self, text: str, path: str, at: int | str) -> Formula | None:
        """The formula that a text at a path is, which is that of a choice, or comes from a place in the document."""
        if text not in self._parsed:
            self._characters += len(text)
            if self._characters > MAX_CHARACTERS:
                self._problems.add("", f"all formulas together are longer than {MAX_CHARACTERS:,} characters")
                self._problems.raise_as(InvalidGrid)
            self._parsed[text] = None
            try:
                self._parsed[text] = parse(text, is_setting)
            except FormulaError as error:
                self._note(error, text, at if isinstance(at, str) else self._origin(path, self._columns[path][0], at))
        return self._parsed[text]

    def _note(self, error: FormulaError, text: str, origin: str) -> None:
        if not isinstance(error, Unknown):
            self._problems.add(origin, f"not a formula: {error}", received=text, allowed=GRAMMAR)
            return
        known = [*(path for path in PATHS if is_setting(path)), *FUNCTIONS]
        short = {path.rpartition(".")[2]: path for path in reversed(known)}
        near = short.get(error.word) or nearest(error.word, known)
        hint = f"; did you mean {near}?" if near else ""
        told = f"unknown setting or function {error.word} at column {error.column}{hint}"
        self._problems.add(origin, told, received=text, allowed=known, nearest=near)

    def _origin(self, path: str, factor: int, row: int) -> str:
        return next((part.origin for part in self._factors[factor].choices[row] if part.path == path), path)

    def _place(self, path: str) -> str:
        """Where a formula of a path is written."""
        if path in self._columns:
            at, column = self._columns[path]
            return self._origin(path, at, next(row for row, value in enumerate(column) if has_formula(value)))
        return self._written[path].origin

    def _in_order(self) -> list[str]:
        """Settings that follow from others, behind those; each cycle is noted once."""
        done: dict[str, None] = {}
        for start in self.reads:
            trail, waiting = [start], [iter(self.reads[start])]
            while waiting and start not in done:
                following = next((one for one in waiting[-1] if one in self.reads and one not in done), None)
                if following is None:
                    done[trail.pop()] = None
                    waiting.pop()
                elif following in trail:
                    told = " -> ".join([*trail[trail.index(following) :], following])
                    self._problems.add(self._place(following), f"follows from itself: {told}", received=told)
                    done |= dict.fromkeys(trail)
                else:
                    trail.append(following)
                    waiting.append(iter(self.reads[following]))
        return list(done)

    def _refuse_wholes(self) -> None:
        """Note formulas below something that an axis sets as a whole."""
        for path in self.reads:
            whole = next((one for one in self._setters if one != path and path.startswith(f"{one}.")), None)
            if whole is not None:
                told = f"an axis sets {whole} as a whole: write formulas into its values, or into an axis of this path"
                self._problems.add(self._place(path), told)

    def _setting(self, path: str) -> tuple[int, ...]:
        """Factors that set a path, or what it lies in."""
        return tuple(at for one, at in self._setters.items() if overlap(one, path))

    def without(self) -> tuple[Blocks, list[Factor]]:
        """Trial block and factors without formulas; the block has the numbers of those that no factor decides."""
        if not self.reads:
            return self._blocks, list(self._factors)
        left: dict[str, Mapping[str, Any]] = dict(self._blocks)
        for path in self.reads:
            name, *keys = path.split(".")
            left[name] = block_without(left[name], keys)
        for path, deciding in self.deciding.items():
            if not deciding:
                (value,) = self.values([path], {}, 1)[path]
                name = path.partition(".")[0]
                if value is not None:
                    left[name], _ = merge_section(left[name], [Assignment(path, value, self._place(path))])
        return left, [factor_without(one, self.reads) for one in self._factors]

    def values(self, paths: Sequence[str], rows: Rows, count: int) -> dict[str, list[Any]]:
        """What formulas come to, for rows of choices; what has no value is noted, and is None.

        Args:
            paths: some that follow from others.
            rows: (count,) choices of all factors that decide about them.
            count: how many.
        """
        needed, waiting = set[str](), list(paths)
        while waiting:
            path = waiting.pop()
            if path not in needed:
                needed.add(path)
                waiting += self.reads.get(path, ())
        known = {path: self._values_written(path, rows, count) for path in needed}
        for path in self._order:
            if path in needed:
                columns = {one: known[one] for one in self.reads[path]}
                known[path] = [self._resolved(path, one, row, rows, columns) for row, one in enumerate(known[path])]
        return {path: known[path] for path in paths}

    def _values_written(self, path: str, rows: Rows, count: int) -> list[Any]:
        """What the document has at a path, for rows of choices: of a factor, of the trial block, or the default."""
        section = path.partition(".")[0]
        default = value_at(None, self._blocks[section], section, path)
        at = self._setters.get(path)
        if at is None:
            return self._below_wholes(path, [default] * count, rows)
        own = column_of(self._factors[at], path)
        found = [own[choice] for choice in rows[at].tolist()]
        return self._below_wholes(path, [default if value is UNSAID else value for value in found], rows)

    def _below_wholes(self, path: str, found: list[Any], rows: Rows) -> list[Any]:
        """Null where an axis sets the whole that a path leads into to null."""
        for whole, at in self._setters.items():
            if path.startswith(f"{whole}."):
                own = column_of(self._factors[at], whole)
                found = [old if own[one] is UNSAID else None for old, one in zip(found, rows[at].tolist(), strict=True)]
        return found

    def _resolved(self, path: str, value: Any, row: int, rows: Rows, columns: Mapping[str, list[Any]]) -> Any:
        """A written value with numbers in the place of formulas."""
        if not has_formula(value):
            return value
        if isinstance(value, list | tuple):
            return [self._resolved(path, one, row, rows, columns) for one in value]
        if isinstance(value, Mapping):
            return {key: self._resolved(path, one, row, rows, columns) for key, one in value.items()}
        formula = self._parsed.get(value)
        if formula is None or self._problems.full:
            return None
        self._steps += len(formula.steps)
        if self._steps > MAX_STEPS:
            told = f"the formulas of all points together have more than {MAX_STEPS:,} operations"
            self._problems.add(self._place(path), f"{told}: take fewer points, or shorter formulas")
            self._problems.raise_as(InvalidGrid)
        settings = {one: columns[one][row] for one in formula.paths}
        try:
            found = formula.value(settings)
            return _whole(found, value) if _is_whole(path) else found
        except FormulaError as error:
            given = ", ".join(f"{one} is {shown}" for one, shown in settings.items() if shown is not None)
            told = f"{error} where {given}" if given and not isinstance(error, NoNumber) else str(error)
            if isinstance(error, NotWhole):
                told += f": a whole number is needed, write {error.advice}"
            self._problems.add(self.origin(path, row, rows), told, received=value)
            return None

    def origin(self, path: str, row: int, rows: Rows) -> str:
        """Where the value of a row is written."""
        if path in self._columns:
            at, column = self._columns[path]
            choice = int(rows[at][row])
            if column[choice] is not UNSAID:
                return self._origin(path, at, choice)
        return self._written[path].origin if path in self._written else f"trial.{path}"

    def table(self, paths: Sequence[str], rows: Rows, count: int) -> "DerivedTable":
        """What paths come to for rows of choices, as choices of a factor."""
        return DerivedTable(self, self.values(paths, rows, count), rows)

    def constants(self, entry: Choice) -> Choice:
        """An entry to exclude with numbers in the place of formulas, which must follow from the trial block alone."""
        if not any(has_formula(part.value) for part in entry):
            return entry
        found = []
        for part in entry:
            read = dict.fromkeys(
                path
                for text in texts_in(part.value)
                for formula in [self._formula(text, part.path, part.origin)]
                for path in (formula.paths if formula else ())
            )
            varied = next((path for path in read if path in self.reads or self._setting(path)), None)
            if varied is not None:
                told = f"{varied} varies: an entry to exclude asks for numbers, or for what the trial block decides"
                self._problems.add(part.origin, told, received=part.value)
            elif not self._problems:
                columns = {path: self._values_written(path, {}, 1) for path in read}
                value = self._resolved(part.path, part.value, 0, {}, columns)
                found.append(part._replace(value=value))
        return tuple(found)

    def resolved(self, choices: Sequence[Choice]) -> list[Choice]:
        """Choices of the only factor with numbers in the place of formulas, theirs and those of the trial block."""
        paths = list(self.deciding)
        if not paths or not choices:
            return list(choices)
        rows = {0: np.arange(len(choices))}
        table = self.table(paths, rows, len(choices))
        plain = [tuple(part for part in choice if part.path not in self.reads) for choice in choices]
        return [(*own, *table[row]) for row, own in enumerate(plain)]


class NotWhole(FormulaError):
    """A number that is not whole where one is needed."""

    def __init__(self, told: str, advice: str) -> None:
        super().__init__(told)
        self.advice = advice


class DerivedTable(Table):
    """Choices that follow from those of other factors; their places are those of formulas."""

    def __init__(self, derived: Derived, columns: Mapping[str, Sequence[Any]], rows: Rows) -> None:
        super().__init__(columns, {})
        self._derived, self._rows = derived, rows

    def origin(self, path: str, index: int) -> str:
        """The place of the formula that a value comes from."""
        return self._derived.origin(path, index, self._rows)


def _is_whole(path: str) -> bool:
    """Whether all numbers of a setting are whole."""
    section, name, *below = path.split(".")
    field = SECTIONS[section].model_fields.get(name)
    return field is not None and not below and path != "network.layers" and not holds_float(field.annotation)


def _whole(value: int | float, text: str) -> int:
    if isinstance(value, float) and not value.is_integer():
        bare = re.sub(r"^\s*=\s*", "", text)
        raise NotWhole(f"is {value!r}", f"= round({bare})")
    return int(value)
