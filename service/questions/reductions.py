"""One number out of a trial's series of measurements: the words of `reduce`, the same everywhere."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WORDS: Final = ("first", "final", "min", "max", "mean_last:n", "first_above:x", "first_below:x")
_PARAMETRISED: Final = re.compile(r"(mean_last|first_above|first_below):(.+)")


@dataclass(frozen=True, slots=True)
class Reduction:
    """A parsed word: its kind, and the number after the colon where it has one."""

    kind: str
    number: float | None = None

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind}:{self.number:g}"

    def apply(self, steps: Sequence[int], values: Sequence[float | None]) -> float | None:
        """Reduce one series, ordered by step; None where it is undefined.

        first and final take the value at the first and last measured step, also when it is undefined there; the
        others skip undefined values. first_above and first_below give the step, not the value.
        """
        if not values:
            return None
        if self.kind in ("first", "final"):
            return _defined(values[0 if self.kind == "first" else -1])
        pairs = [(step, value) for step, value in zip(steps, values, strict=True) if _defined(value) is not None]
        known = [value for _, value in pairs if value is not None]
        match self.kind:
            case "min" | "max":
                return (min if self.kind == "min" else max)(known, default=None)
            case "mean_last":
                last = [value for value in values[-int(self.number or 1) :] if _defined(value) is not None]
                return math.fsum(value for value in last if value is not None) / len(last) if last else None
        above, level = self.kind == "first_above", self.number or 0.0
        hits = (step for step, value in pairs if value is not None and (value > level if above else value < level))
        step = next(hits, None)
        return None if step is None else float(step)


def parse_reduction(text: str) -> Reduction:
    """The reduction that a word names.

    Raises:
        ValueError: listing the words.
    """
    if text in ("first", "final", "min", "max"):
        return Reduction(text)
    found = _PARAMETRISED.fullmatch(text)
    if found:
        try:
            number = float(found[2])
        except ValueError:
            number = math.nan
        whole = number % 1 == 0 and 1 <= number <= 1_000_000
        if math.isfinite(number) and (found[1] != "mean_last" or whole):
            return Reduction(found[1], number)
        raise ValueError(f"{found[1]} takes a {'whole number >= 1' if found[1] == 'mean_last' else 'number'} after :")
    raise ValueError(f"must be one of {', '.join(WORDS)}")


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
