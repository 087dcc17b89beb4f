"""Canonical form of a section and of all that differ from it in free numbers alone, as settings and as it is hashed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from service.grid import canonical


@dataclass(eq=False)
class Written:
    """Canonical form of a section; others are that form with other numbers in it."""

    settings: dict[str, Any]

    @cached_property
    def text(self) -> str:
        """As it is hashed."""
        return "{" + ",".join(self._members.values()) + "}"

    @cached_property
    def _members(self) -> dict[str, str]:
        """Each field of the form as it is hashed, in the order of their names."""
        return {name: f'"{name}":{canonical.compact(self.settings[name])}' for name in sorted(self.settings)}

    @cached_property
    def _made(self) -> dict[tuple[str, ...], str]:
        """Names of fields -> the text with a place for the number of each, in the order of the form."""
        return {}

    def texts(self, numbers: Mapping[str, Sequence[str]], count: int) -> list[str]:
        """The form with numbers in the fields that it reads, once for each, as it is hashed.

        Args:
            numbers: name of a field -> (count,) numbers as they are hashed.
            count: how many.
        """
        read = [name for name in self._members if name in numbers]
        if not read:
            return [self.text] * count
        key = tuple(read)
        template = self._made.get(key)
        if template is None:
            # a per cent sign of the form is none of the template
            template = self._made[key] = "%s".join([one.replace("%", "%%") for one in _pieces(self._members, read)])
        if len(read) == 1:
            return [template % number for number in numbers[read[0]]]
        return [template % row for row in zip(*(numbers[name] for name in read), strict=True)]

    def with_numbers(self, numbers: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """The form with numbers in the fields that it reads."""
        return self.settings | {name: plain for name, plain in numbers if name in self.settings}


def _pieces(members: Mapping[str, str], read: Sequence[str]) -> list[str]:
    """What stands before, between and behind the numbers of these fields."""
    pieces, current = [], "{"
    for place, (name, member) in enumerate(members.items()):
        current += "," if place else ""
        if name in read:
            pieces.append(f'{current}"{name}":')
            current = ""
        else:
            current += member
    return [*pieces, current + "}"]
