"""What is wrong with the settings of a grid that is wrong elsewhere too, so that one answer names every wrong field.

No point of such a grid can be built. Each section is looked at with the first value of every axis, and then with each
further value by itself. Pure.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from service.grid.axes import SECTIONS, Assignment, Choice, Factor
from service.grid.fields import REFUSED, checked
from service.grid.problems import Problems
from service.grid.sections import merge_section, validate_section

MAX_LOOKS: Final = 2_000
"""At each section: twenty problems are told, and what follows is told once these are mended."""
MANY_CHOICES: Final = 200


def note_sections(
    blocks: Mapping[str, Mapping[str, Any]], factors: Sequence[Factor], included: Sequence[Choice], problems: Problems
) -> None:
    """Note what no trial could read.

    Args:
        blocks: the trial block by section.
        factors: axes and zip groups as far as they could be read.
        included: points as far as they could be read.
        problems: where it is noted.
    """
    for name in SECTIONS:
        for assignments in itertools.islice(_assigned(name, factors, included), MAX_LOOKS):
            if problems.full:
                return
            merged, origins = merge_section(blocks[name], assignments)
            validate_section(name, merged, origins, problems)


def _assigned(name: str, factors: Sequence[Factor], included: Sequence[Choice]) -> Iterator[list[Assignment]]:
    """What is assigned to a section: by the first values, by each further one in its place, by each included point."""
    own = [factor for factor in factors if any(path.partition(".")[0] == name for path in factor.paths)]
    first = [_of(name, factor.choices[0]) for factor in own]
    yield [part for parts in first for part in parts]
    for place, factor in enumerate(own):
        for choice in _further(factor):
            if parts := _of(name, choice):
                yield [part for other in (*first[:place], parts, *first[place + 1 :]) for part in other]
    for choice in included:
        if parts := _of(name, choice):
            yield parts


def _further(factor: Factor) -> Iterator[Choice]:
    """Choices behind the first: of many only the beginning, and those with a value that its field refuses."""
    yield from factor.choices[1:MANY_CHOICES]
    rest = factor.choices[MANY_CHOICES:]
    for path in factor.paths if rest else ():
        if path.count(".") == 1:
            given = [(choice, part.value) for choice in rest for part in choice if part.path == path]
            values = checked(path, [value for _, value in given])
            yield from (choice for (choice, _), value in zip(given, values, strict=True) if value is REFUSED)


def _of(name: str, choice: Choice) -> list[Assignment]:
    return [part for part in choice if part.path.partition(".")[0] == name]
