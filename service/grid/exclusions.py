"""Which points a grid's `exclude` entries drop: judged on axes, so that a million points cost no more than looking.

A set of entries is a number: bit i stands for entry i, which drops a point that matches all its keys. The value of a
setting, which a single axis decides, leaves those entries that it does not speak against.
"""

import contextlib
import itertools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

import numpy as np

from service.errors import InvalidGrid
from service.grid.axes import Assignment, Choice, Factor, overlap
from service.grid.derived import Derived
from service.grid.fields import REFUSED, checked, field_alone
from service.grid.problems import Problems
from service.grid.sections import merge_section, value_at
from service.grid.setting_types import MOST_MADE, expanded
from service.grid.tokens import token

MAX_LISTED: Final = 1_000_000
MAX_COMBINED: Final = 100_000
"""Combinations of axes that lead into the same setting, each of which is looked at."""

Blocks = Mapping[str, Mapping[str, Any]]


class Exclusions:
    """The entries as sets.

    Args:
        entries: what each entry asks for, as assignments to paths.
    Raises:
        InvalidGrid: ranges among them stand for a million numbers.
    """

    def __init__(self, entries: Sequence[Choice]) -> None:
        self.unused = set(range(len(entries)))
        """Entries that matched no point yet; of several that match one, the first has done it."""
        self._all = (1 << len(entries)) - 1
        self._asking: dict[str, int] = {}
        self._asked: dict[str, dict[Hashable, int]] = {}
        self._made = sum(_announced(part.value) for entry in entries for part in entry)
        if self._made > MAX_LISTED:
            raise InvalidGrid(f"exclude: its ranges stand for more than {MAX_LISTED:,} numbers: write fewer")
        for index, entry in enumerate(entries):
            bit = 1 << index
            wanted: dict[str, set[Hashable]] = {}
            for part in entry:
                wanted.setdefault(part.path, set()).add(token(_meant(part.value)))
            for path, tokens in wanted.items():
                self._asking[path] = self._asking.get(path, 0) | bit
                for one in tokens if len(tokens) == 1 else ():
                    of_path = self._asked.setdefault(path, {})
                    of_path[one] = of_path.get(one, 0) | bit

    def __bool__(self) -> bool:
        return self._all != 0

    def dropped(self, blocks: Blocks, factors: Sequence[Factor], problems: Problems, derived: Derived) -> np.ndarray:
        """Which points of the product are dropped, (points,) in its order; invalid values that are asked for are noted.

        Args:
            blocks: the trial block by section.
            factors: of the product.
            problems: where it is noted.
            derived: settings that follow from those of factors.
        """
        found = _Found(self._all)
        paths = [factor.paths for factor in factors]
        by_factors: dict[tuple[int, ...], list[str]] = {}
        for path in self._asking:
            deciding = {index for index, own in enumerate(paths) if any(overlap(one, path) for one in own)}
            deciding.update(itertools.chain(*(own for one, own in derived.deciding.items() if overlap(one, path))))
            by_factors.setdefault(tuple(sorted(deciding)), []).append(path)
        found.narrow(self._left(blocks, [()], by_factors.pop((), ()), problems)[0])
        for index, factor in enumerate(factors):
            asked, choices = by_factors.pop((index,), ()), factor.choices
            if asked:
                choices = _following(choices, asked, derived, {index: np.arange(len(choices))})
            found.multiply(self._left(blocks, choices, asked, problems) if asked else None, len(choices))
        lengths = [len(factor.choices) for factor in factors]
        for deciding, asked in by_factors.items():
            if math.prod(lengths[index] for index in deciding) > MAX_COMBINED:
                told = f"{asked[0]} is decided by {len(deciding)} axes with more than {MAX_COMBINED:,} combinations"
                problems.add("exclude", f"{told}: exclude by what these axes set, or take fewer values")
                problems.raise_as(InvalidGrid)
            together = itertools.product(*(factors[index].choices for index in deciding))
            every = [tuple(itertools.chain(*parts)) for parts in together]
            indices = np.unravel_index(np.arange(len(every)), [lengths[index] for index in deciding])
            every = _following(every, asked, derived, dict(zip(deciding, indices, strict=True)))
            left = self._left(blocks, every, asked, problems)
            found.select(left, lengths, deciding)
        self.unused.difference_update(found.first_entries())
        return found.is_dropped()

    def _left(self, blocks: Blocks, choices: Sequence[Choice], paths: Iterable[str], problems: Problems) -> list[int]:
        """The set of entries that each choice leaves, by its values at these paths, which it decides."""
        left = [self._all] * len(choices)
        set_paths = {part.path for choice in choices for part in choice}
        for path in paths:
            others, asked = self._all & ~self._asking[path], self._asked.get(path, {})
            tokens = self._tokens(path, choices, {one for one in set_paths if overlap(one, path)}, blocks, problems)
            left = [one & (others | asked.get(value, 0)) for one, value in zip(left, tokens, strict=True)]
        return left

    def _tokens(
        self, path: str, choices: Sequence[Choice], leading: Set[str], blocks: Blocks, problems: Problems
    ) -> list[Hashable]:
        """What each choice has at a path, as a token: its own values over those of the trial block."""
        found: list[Hashable] = []
        plain: list[Assignment] = []
        known: dict[Hashable, Hashable] = {}
        for choice in choices:
            own = [part for part in choice if part.path in leading]
            if len(own) == 1 and own[0].path == path and _is_scalar(own[0].value):
                # a value that is no list and no range means what it says
                plain.append(own[0])
                found.append(token(own[0].value))
                continue
            written = tuple([(part.path, token(part.value)) for part in own])
            if written not in known and not problems.full:
                known[written] = token(self._value(path, own, blocks, problems))
            found.append(known.get(written))
        _check(path, plain, problems)
        return found

    def _value(self, path: str, own: Sequence[Assignment], blocks: Blocks, problems: Problems) -> Any:
        """The value at a path where these assignments are made."""
        section = path.partition(".")[0]
        merged, origins = merge_section(blocks[section], own)
        value = value_at(field_alone(path, merged, origins, problems), merged, section, path)
        self._made += len(value) if isinstance(value, list) else 0
        if self._made > MAX_LISTED:
            raise InvalidGrid(
                f"exclude: what it asks for has more than {MAX_LISTED:,} numbers in lists: take fewer values"
            )
        return value


class _Found:
    """The sets that points leave, each distinct one once: first of no factor, then of the product of more and more."""

    def __init__(self, everything: int) -> None:
        self._sets = [everything]
        self._numbers = np.zeros(1, np.int64)
        """Of each point, the place of its set."""

    def narrow(self, left: int) -> None:
        """All points leave this at the most."""
        self._sets = [one & left for one in self._sets]

    def multiply(self, left: Sequence[int] | None, length: int) -> None:
        """Every point becomes as many as a factor has choices, which leave these; None: all leave all."""
        if left is None:
            self._numbers = np.repeat(self._numbers, length)
        else:
            numbers, sets = _numbered(left)
            self._take((self._numbers[:, None] * len(sets) + numbers).ravel(), sets)

    def select(self, left: Sequence[int], lengths: Sequence[int], deciding: Sequence[int]) -> None:
        """Narrow every point by the set at its choices of some factors together."""
        places = np.unravel_index(np.arange(len(self._numbers)), lengths)
        together = np.ravel_multi_index([places[index] for index in deciding], [lengths[index] for index in deciding])
        numbers, sets = _numbered(left)
        self._take(self._numbers * len(sets) + numbers[together], sets)

    def _take(self, pairs: np.ndarray, sets: Sequence[int]) -> None:
        """Points that leave a set of before and one of these, as `before * len(sets) + this`."""
        distinct, inverse = np.unique(pairs, return_inverse=True)
        both = [self._sets[pair // len(sets)] & sets[pair % len(sets)] for pair in distinct.tolist()]
        numbers, self._sets = _numbered(both)
        self._numbers = numbers[inverse]

    def first_entries(self) -> Iterator[int]:
        """Of every set that drops a point, the first entry."""
        for number in np.unique(self._numbers).tolist():
            left = self._sets[number]
            if left:
                yield (left & -left).bit_length() - 1

    def is_dropped(self) -> np.ndarray:
        """Whether a point leaves an entry, all of whose keys it then matches."""
        return np.array([one != 0 for one in self._sets])[self._numbers]


def _following(
    choices: Sequence[Choice], asked: Iterable[str], derived: Derived, rows: Mapping[int, np.ndarray]
) -> Sequence[Choice]:
    """Choices of factors with what follows from them at the paths that are asked for."""
    own = [
        path
        for path, deciding in derived.deciding.items()
        if deciding and set(deciding) <= set(rows) and any(overlap(path, one) for one in asked)
    ]
    if not own:
        return choices
    table = derived.table(own, rows, len(choices))
    return [(*choice, *table[row]) for row, choice in enumerate(choices)]


def _numbered(sets: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Places of sets among the distinct ones, and these."""
    known: dict[int, int] = {}
    numbers = np.fromiter((known.setdefault(one, len(known)) for one in sets), np.int64, len(sets))
    return numbers, list(known)


def _check(path: str, plain: Sequence[Assignment], problems: Problems) -> None:
    """Note values of a field that are none, though every point that has them may be dropped."""
    if path.count(".") != 1:
        return
    name = path.partition(".")[2]
    for part, value in zip(plain, checked(path, [part.value for part in plain]), strict=True):
        if value is REFUSED and not problems.full:
            field_alone(path, {name: part.value}, {path: part.origin}, problems)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _announced(value: Any) -> int:
    """How many numbers a range stands for, unless it is none; a list is as long as it is written."""
    if not (isinstance(value, Mapping) and len(value) == 1):
        return 0
    ((kind, span),) = value.items()
    if kind == "repeat":
        counts = [block[1] for block in span if _is_pair(block)] if isinstance(span, list | tuple) else []
    else:
        counts = list(span[2:]) if isinstance(span, list | tuple) and len(span) == 3 else []
    made = sum(int(count) for count in counts if isinstance(count, int | float) and 0 < count <= MOST_MADE)
    return made if made <= MOST_MADE else 0


def _is_pair(block: Any) -> bool:
    return isinstance(block, list | tuple) and len(block) == 2


def _meant(value: Any) -> Any:
    """The list that a range stands for."""
    with contextlib.suppress(ValueError):
        return expanded(value)
    return value
