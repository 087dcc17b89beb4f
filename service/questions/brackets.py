"""Boundaries along one axis: between neighbouring values whose verdicts differ, the next value to try. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

Scale = Literal["linear", "log"]
_DIGITS: Final = 17


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How narrow a bracket has to be."""

    size: float
    is_relative: bool = True
    """A share of the bracket's larger end instead of units of the axis."""
    least: float = 0.0
    """A width that is narrow enough anywhere: near zero no share of a value is."""

    def allows(self, low: float, high: float) -> bool:
        """Whether a bracket from low to high is narrow enough."""
        size = self.size * max(abs(low), abs(high)) if self.is_relative else self.size
        return high - low <= max(size, self.least)


@dataclass(frozen=True, slots=True)
class Axis:
    """How values between two others are chosen on one axis."""

    scale: Scale
    tolerance: Tolerance
    is_whole: bool = False
    """It takes whole numbers only."""

    def between(self, low: float, high: float) -> float | None:
        """The value to try next between two; None where they are near enough, or nothing lies between them.

        It is the middle, rounded to as few digits as leave it in the middle half.
        """
        if self.tolerance.allows(low, high):
            return None
        on_logs = self.scale == "log" and low > 0
        middle = math.sqrt(low) * math.sqrt(high) if on_logs else low + (high - low) / 2
        if self.is_whole:
            whole = round(middle)
            return float(whole) if low < whole < high else None
        spread = min(middle - low, high - middle) / 2
        for digits in range(1, _DIGITS + 1):
            rounded = float(f"{middle:.{digits}g}")
            if abs(rounded - middle) <= spread and low < rounded < high:
                return rounded
        return None

    def middle(self, low: float, high: float) -> float:
        """What is told of a bracket as one number."""
        return math.sqrt(low) * math.sqrt(high) if self.scale == "log" and low > 0 else low + (high - low) / 2


@dataclass(frozen=True, slots=True)
class Bracket:
    """Two neighbouring values with different verdicts; the boundary lies between them."""

    low: float
    high: float
    holds_below: bool
    value: float
    """The middle of the two, on the axis' scale."""
    is_found: bool
    """It is within the tolerance, or nothing lies between the two."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of the boundaries along one axis, at one place of the others."""

    brackets: tuple[Bracket, ...]
    add: tuple[float, ...]
    """Values to try next, in every bracket that is too wide."""
    undefined: tuple[float, ...]
    """Values without a verdict: every trial failed there, or its gate let none through."""

    @property
    def is_monotone(self) -> bool:
        """Whether the verdict changes at most once along the axis."""
        return len(self.brackets) <= 1


def follow(verdicts: Mapping[float, bool | None], axis: Axis, halvings: int = 1) -> Line:
    """The boundaries along an axis and what to try next; every change of the verdict is followed.

    Args:
        verdicts: value on the axis -> whether the statement holds there; None where it cannot be told.
        axis: how values between two others are chosen.
        halvings: how many are done at once: 1 tries the middle of a bracket, 2 those of its halves too, and so on.
    """
    known = sorted((value, verdict) for value, verdict in verdicts.items() if verdict is not None)
    untold = sorted(value for value, verdict in verdicts.items() if verdict is None)
    brackets: list[Bracket] = []
    add: list[float] = []
    for (low, below), (high, above) in pairwise(known):
        if below == above:
            continue
        further = axis.between(low, high)
        # a value between them without a verdict was tried already: trying beside it would go on for ever
        if further is not None and any(low < value < high for value in untold):
            brackets.append(Bracket(low, high, below, axis.middle(low, high), is_found=False))
            continue
        brackets.append(Bracket(low, high, below, axis.middle(low, high), is_found=further is None))
        add += _inside(low, high, axis, halvings)
    return Line(tuple(brackets), tuple(add), tuple(untold))


def _inside(low: float, high: float, axis: Axis, halvings: int) -> list[float]:
    """The middle of a bracket, and those of its parts, increasing."""
    middle = axis.between(low, high) if halvings else None
    if middle is None:
        return []
    return [*_inside(low, middle, axis, halvings - 1), middle, *_inside(middle, high, axis, halvings - 1)]
