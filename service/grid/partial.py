"""What is wrong with the settings of a grid that is wrong elsewhere too, so that one answer names every wrong field.

No point of such a grid can be built. Each section is looked at with the first value of every axis, and then with each
further value by itself. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.grid.axes import SECTIONS, Assignment, Choice, Factor
from service.grid.problems import Problems
from service.grid.sections import merge_section, validate_section


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
        for assignments in _assigned(name, factors, included):
            if problems.full:
                return
            merged, origins = merge_section(blocks[name], assignments)
            validate_section(name, merged, origins, problems)


def _assigned(name: str, factors: Sequence[Factor], included: Sequence[Choice]) -> Iterator[list[Assignment]]:
    """What is assigned to a section: by the first values, by each further one in its place, by each included point."""
    own = [[_of(name, choice) for choice in factor.choices] for factor in factors]
    first = [choices[0] for choices in own if choices]
    yield [part for parts in first for part in parts]
    for place, choices in enumerate(own):
        for parts in choices[1:]:
            if parts:
                yield [part for other in (*first[:place], parts, *first[place + 1 :]) for part in other]
    for choice in included:
        if parts := _of(name, choice):
            yield parts


def _of(name: str, choice: Choice) -> list[Assignment]:
    return [part for part in choice if part.path.partition(".")[0] == name]
