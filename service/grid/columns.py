"""What the choices of an axis or a zip group say about a section: what decides, and free numbers, each in columns."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from service.grid.axes import Assignment, Factor, Table
from service.grid.fitting import Limits
from service.grid.free_settings import NONE, Numbers, free_numbers
from service.grid.tokens import UNSAID, token


class Column:
    """What the choices of a factor say about one section.

    Args:
        factor: an axis, a zip group, or points that are included.
        section: the section.
        free: paths of settings that nothing else depends on in this grid.
        limits: what a trial may be.
    """

    def __init__(self, factor: Factor, section: str, free: frozenset[str], limits: Limits) -> None:
        self._choices, self._section = factor.choices, section
        values = _values(factor, section)
        self.numbers: Mapping[str, Numbers] = {
            path.partition(".")[2]: free_numbers(path, own, limits) for path, own in values.items() if path in free
        }
        """Values of free settings by the names of their fields, for every choice."""
        self.kinds: np.ndarray = self._kinds(values)
        """(choices,) equal for choices that differ in free numbers alone, of one sign."""

    def _kinds(self, values: Mapping[str, Sequence[Any]]) -> np.ndarray:
        if values and not isinstance(self._choices, Table):
            return self._kinds_one_by_one()
        found = np.zeros(len(self._choices), np.int64)
        for path, own in values.items():
            numbers = self.numbers.get(path.partition(".")[2])
            codes = coded(list(map(token, own))) if numbers is None else numbers.kinds
            found = together(found, codes)
        return found

    def _kinds_one_by_one(self) -> np.ndarray:
        """Of choices that set different paths, some of them twice."""
        known: dict[str, Numbers | None] = {}
        kinds = []
        for index, choice in enumerate(self._choices):
            kind: list[Hashable] = []
            for part in choice:
                path = part.path
                if path not in known and head(path) == self._section:
                    known[path] = self.numbers.get(path.partition(".")[2])
                if path in known:
                    numbers = known[path]
                    sign = NONE if numbers is None else int(numbers.signs[index])
                    kind.append((path, token(part.value)) if sign == NONE else (path, sign, None))
            kinds.append(tuple(kind))
        return coded(kinds)

    def parts(self, index: int) -> list[Assignment]:
        """What one choice assigns below the section."""
        return [part for part in self._choices[index] if head(part.path) == self._section]


def _values(factor: Factor, section: str) -> dict[str, list[Any]]:
    """The value at each path into a section, for every choice; of a path that a choice sets twice the last."""
    if isinstance(factor.choices, Table):
        return {path: list(own) for path, own in factor.choices.columns.items() if head(path) == section}
    found: dict[str, list[Any]] = {}
    if all(head(path) != section for path in factor.paths):
        # most sections of most factors
        return found
    for index, choice in enumerate(factor.choices):
        for part in choice:
            if head(part.path) == section:
                if part.path not in found:
                    found[part.path] = [UNSAID] * len(factor.choices)
                found[part.path][index] = part.value
    return found


def coded(values: Sequence[Hashable], known: dict[Any, int] | None = None) -> np.ndarray:
    """Numbers from 0 that are equal where values are, also to those of other columns that were put into `known`."""
    known = {} if known is None else known
    return np.fromiter((known.setdefault(one, len(known)) for one in values), np.int64, len(values))


def together(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Numbers that are equal where both of two such columns are."""
    if not other.any():
        return one
    if not one.any():
        return other
    return np.unique(one * (int(other.max()) + 1) + other, return_inverse=True)[1]


def head(path: str) -> str:
    """The section that a path leads into."""
    return path.partition(".")[0]
