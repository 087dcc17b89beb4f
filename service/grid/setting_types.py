"""What settings are made of: whole numbers, numbers, names out of a registry, ranges; and what a section refuses."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

MOST_MADE: Final = 100_000
"""Values that a range or a repeat makes."""


def _whole(value: Any) -> Any:
    """Accept 6000.0 and 6e3 where a whole number is asked for; YAML and JSON writers produce both."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def one_of(allowed: Mapping[str, Any] | tuple[str, ...]) -> Callable[[str], str]:
    """Validator for a name out of a registry; the error lists what is allowed."""

    def check(value: str) -> str:
        if value not in allowed:
            known = list(allowed)
            raise PydanticCustomError("one_of", "must be one of {names}", {"names": ", ".join(known), "allowed": known})
        return value

    return check


def listed(allowed: Mapping[str, Any] | tuple[str, ...]) -> Any:
    """The names in the schema."""
    return Field(json_schema_extra={"enum": list(allowed)})


def spaced(value: Any) -> Any:
    """Expand `{log: [from, to, count]}` and `{linear: [from, to, count]}` to a list; leave all else as it is."""
    if not (isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in ("log", "linear")):
        return value
    kind, span = next(iter(value.items()))
    if not (isinstance(span, list | tuple) and len(span) == 3 and all(_is_number(part) for part in span)):
        raise ValueError(f"{kind} takes [from, to, count], three numbers")
    start, stop, count = span
    if not (float(count).is_integer() and 1 <= count <= MOST_MADE):
        raise ValueError(f"the count of {kind} must be a whole number from 1 to {MOST_MADE}")
    if kind == "log":
        if not (start > 0 and stop > 0):
            raise ValueError("log takes two positive ends")
        return _rounded(np.geomspace(start, stop, int(count)))
    return _rounded(np.linspace(start, stop, int(count)))


def expanded(value: Any) -> Any:
    """The list that `{log: ..}`, `{linear: ..}` or `{repeat: [[value, count], ..]}` stands for; all else as it is."""
    if not (isinstance(value, Mapping) and list(value) == ["repeat"]):
        return spaced(value)
    blocks = value["repeat"]
    if not (isinstance(blocks, list | tuple) and blocks and all(map(_is_block, blocks))):
        raise ValueError("repeat takes a list of [value, count] pairs, as [[1, 10], [0.01, 190]]")
    if sum(count for _, count in blocks) > MOST_MADE:
        raise ValueError(f"repeat makes at most {MOST_MADE} values")
    return [number for number, count in blocks for _ in range(int(count))]


def expanded_whole(value: Any) -> Any:
    """The same for whole numbers: what a range makes is rounded."""
    made = expanded(value)
    return made if made is value or "repeat" in value else whole_numbers(made)


def whole_numbers(values: list[float]) -> list[int]:
    """Rounded to the nearest whole number, as measured steps are: halves to the even one."""
    return np.round(np.asarray(values)).astype(np.int64).tolist()


def _is_block(block: Any) -> bool:
    if not (isinstance(block, list | tuple) and len(block) == 2 and all(map(_is_number, block))):
        return False
    return block[1] >= 1 and float(block[1]).is_integer()


def _rounded(values: np.ndarray) -> list[float]:
    """To 15 digits: 0.01, not 0.010000000000000002, and the same numbers with every release of NumPy."""
    return [float(f"{value:.15g}") for value in values.tolist()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


Count = Annotated[int, BeforeValidator(_whole)]
Real = float
Ranges = BeforeValidator(expanded)
"""Lets a list of numbers be written as a range or a repeat."""
WholeRanges = BeforeValidator(expanded_whole)
"""Lets a list of whole numbers be written so."""
PositiveList = Annotated[list[Annotated[Real, Field(gt=0)]], Field(fail_fast=True)]
"""Of a list the first wrong item is told: half a million of them would take seconds to tell."""
StepList = Annotated[list[Annotated[Count, Field(ge=0)]], Field(fail_fast=True)]
Positives = Annotated[PositiveList, Ranges, Field(min_length=1, max_length=4096)]


class Section(BaseModel):
    """Base of every section: unknown keys, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)
