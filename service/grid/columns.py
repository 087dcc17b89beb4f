"""What each choice of an axis or a zip group says about a section: what decides, and what is a free number."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from service.grid.axes import Assignment, Choice, Factor
from service.grid.exclusions import token
from service.grid.fitting import Limits
from service.grid.free_settings import Free, free_values


class Said(NamedTuple):
    """What one choice says about one section."""

    parts: Sequence[Assignment]
    kind: Hashable
    """Equal for choices that differ in free numbers alone, of one sign."""
    free: tuple[Free, ...] = ()


class Column:
    """What the choices of a factor say about one section; made when first asked for, but checked all at once."""

    def __init__(self, factor: Factor, section: str, free: frozenset[str], limits: Limits) -> None:
        self._parts = _of_section(factor, section)
        self._said: list[Said | None] = [None] * len(self._parts)
        self._kinds: dict[Hashable, Hashable] = {}
        self._free: dict[str, dict[int, Free | None]] = {
            path: self._checked(path, limits) for path in factor.paths if path in free and head(path) == section
        }

    def _checked(self, path: str, limits: Limits) -> dict[int, Free | None]:
        given = [(index, part.value) for index, own in enumerate(self._parts) for part in own if part.path == path]
        values = free_values(path, [value for _, value in given], limits)
        return {index: value for (index, _), value in zip(given, values, strict=True)}

    def said(self, index: int) -> Said:
        """What one choice says."""
        found = self._said[index]
        if found is None:
            free = {path: values.get(index) for path, values in self._free.items()}
            found = self._said[index] = said(self._parts[index], free, self._kinds)
        return found


def _of_section(factor: Factor, section: str) -> Sequence[Choice]:
    """What choices assign below a section."""
    if all(head(path) == section for path in factor.paths):
        return factor.choices
    return [tuple([part for part in choice if head(part.path) == section]) for choice in factor.choices]


def said(parts: Sequence[Assignment], free: Mapping[str, Free | None], known: dict[Hashable, Hashable]) -> Said:
    """Assignments to one section, those in `free` as the numbers that they are; a kind in `known` is not kept twice."""
    kinds: list[Any] = []
    numbers: list[Free] = []
    for part in parts:
        number = free.get(part.path)
        if number is None:
            kinds.append((part.path, token(part.value)))
        else:
            kinds.append((part.path, number.kind, None))
            numbers.append(number)
    kind = tuple(kinds)
    return Said(parts, known.setdefault(kind, kind), tuple(numbers))


def head(path: str) -> str:
    """The section that a path leads into."""
    return path.partition(".")[0]
