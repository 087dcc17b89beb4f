"""The order of an axis' values, the same everywhere: numbers by size, words as the grid lists them. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from service.grid.axes import Assignment, Choice, read_factors, read_point
from service.grid.problems import Problems
from service.grid.sections import value_at

_UNWRITTEN: Final = 10**9
"""Behind every word that is written."""


def is_number(value: Any) -> bool:
    """Whether a value is ordered by its size; false is before true."""
    return isinstance(value, bool | int | float)


class ValueOrder:
    """Ranks values of settings.

    Args:
        read: answers the grids whose axes they are; called once, when the first word is ranked.
        words: values of further paths in order.
    """

    def __init__(
        self, read: Callable[[], Iterable[Mapping[str, Any]]], words: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._read, self._words = read, words or {}

    def rank(self, path: str, value: Any) -> tuple[int, Any, str]:
        """What to sort by: numbers first, then words and lists as they are written, then what has no value."""
        if is_number(value):
            return 0, value, ""
        if value is None:
            return 2, 0, ""
        return 1, self._places.get(path, {}).get(repr(value), _UNWRITTEN), str(value)

    def sorted(self, path: str, values: Iterable[Any]) -> list[Any]:
        """Distinct values of a path in order."""
        return sorted({repr(value): value for value in values}.values(), key=lambda value: self.rank(path, value))

    @cached_property
    def _places(self) -> Mapping[str, Mapping[str, int]]:
        """Path -> value, as text that tells 1 from true -> its place among those that are written."""
        found = {path: {repr(word): at for at, word in enumerate(words)} for path, words in self._words.items()}
        for grid in self._read():
            for path, values in written_values(grid).items():
                places = found.setdefault(path, {})
                for value in values:
                    places.setdefault(repr(value), len(places))
        return found


def written_values(grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Varying path -> its values as a valid grid lists them: by axes and zip groups, then by included points.

    What only included points set begins with the value that all other points have.
    """
    problems = Problems()
    found: dict[str, dict[str, Any]] = {}
    factors = read_factors(grid.get("axes") or {}, grid.get("zip") or (), problems)
    _note(found, (choice for factor in factors for choice in factor.choices))
    included = [read_point(entry, "include", problems) for entry in grid.get("include") or ()]
    for path in {part.path for choice in included for part in choice} - found.keys():
        section = path.partition(".")[0]
        block = (grid.get("trial") or {}).get(section) or {}
        _note(found, [(Assignment(path, value_at(None, block, section, path), "trial"),)])
    _note(found, included)
    return {path: list(values.values()) for path, values in found.items()}


def _note(found: dict[str, dict[str, Any]], choices: Iterable[Choice]) -> None:
    for choice in choices:
        for part in choice:
            found.setdefault(part.path, {}).setdefault(repr(part.value), part.value)
