"""Points of a grid that are longer than others of it, and why some of them cannot go on from where these end. Pure."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, Self

from service.grid.beginnings import MOST_LOOKED_AT, WHEN, beginning
from service.grid.building import PLACES
from service.grid.measured_steps import measured_steps
from service.grid.points import Point

NO_STATE: Final = "the shorter trials kept no state: write training.keep: state before they are trained"
NONE_LEFT: Final = "the shorter trials diverged, failed, were cancelled or thinned, or the states they kept are deleted"
SCHEDULE: Final = "a schedule that follows from training.steps starts over, and a stop that reads it may be another one"
MEASURED: Final = (
    "the shorter trials are not measured at the same steps: measure.every, and measure.steps as a list or "
    "{log: [1, 100000, 60]}, do not follow from training.steps as measure.points does"
)
_TIMES: Final = re.compile(r'"(?:points|every)":[0-9]+,?|"spacing":"[a-z]+",?|"(?:steps|weights)":\[[0-9,]*\],?')
"""In `measure` as it is hashed: at which steps, which changes no number of those that both trials measure."""


class First(NamedTuple):
    """What decides whether others may go on from a trial, and it from them."""

    key: str | None
    """Of its beginning."""
    last: int
    """Its last step."""
    stops: bool
    when: Mapping[str, Any]
    """Of its settings, those that say at which steps it is measured."""
    measured: Callable[[], frozenset[int]]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """That of canonical settings."""
        key = beginning(settings)
        if key is None:
            return cls(None, 0, False, {}, frozenset)
        when = {name: value for name, value in settings["measure"].items() if name in WHEN}
        training = {"steps": settings["training"]["steps"]}
        found = cache(lambda: frozenset(measured_steps({"measure": when, "training": training})))
        return cls(key, training["steps"], "stop" in settings["training"], when, found)

    @property
    def listed(self) -> int:
        """How many steps are made to know where it is measured, about: of an arithmetic sequence none."""
        return 0 if "every" in self.when else len(self.when.get("steps", ())) or self.when.get("points", 0)

    def hindrance(self, shorter: Self) -> str | None:
        """Why this trial cannot go on from a shorter one; None if it can."""
        if self.key is None or self.key != shorter.key:
            return SCHEDULE
        kept = {step for step in self.when.get("weights", ()) if step <= shorter.last}
        can = kept.issubset(shorter.when.get("weights", ())) and self._measures_what(shorter)
        return None if can else MEASURED

    def _measures_what(self, shorter: Self) -> bool:
        """Whether all that this one measures until the shorter one's end was measured there.

        One that may stop is judged wherever it is measured: it measures nothing else either.
        """
        last, own, its = shorter.last, self.when.get("every"), shorter.when.get("every")
        asked: Collection[int]
        asked = range(0, last + 1, own) if own else [step for step in self.measured() if step <= last]
        if its is None:
            there = shorter.measured()
            is_within = len(asked) <= len(there) and there.issuperset(asked)
            return is_within and not (shorter.stops and len(asked) != len(there))
        # of a sequence its first step tells about all: it may have ten million
        is_within = all(step % its == 0 or step == last for step in (asked[1:2] if own else asked))
        return is_within and not (shorter.stops and len(asked) != last // its + 1 + (last % its > 0))


def hindrance(shorter: Mapping[str, Any], longer: Mapping[str, Any]) -> str | None:
    """Why a trial cannot go on from one that differs from it in length, or in what follows from that; None if it can.

    Args:
        shorter: canonical settings of the trial with fewer steps.
        longer: of the other one.
    """
    return First.of(longer).hindrance(First.of(shorter))


class Shorter:
    """Points that differ from others in length, or when they are measured, and are shorter.

    Args:
        points: of one grid.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        aside: dict[str, str] = {}
        training, measure = PLACES["training"], PLACES["measure"]
        alike = defaultdict[tuple[str, ...], list[tuple[int, int]]](list)
        for place, point in enumerate(points):
            if (steps := point.steps) is not None:
                texts = point.part_texts
                for at, without in ((training, _without_length), (measure, _without_times)):
                    if (text := texts[at]) not in aside:
                        aside[text] = without(text)
                    texts[at] = aside[text]
                alike[tuple(texts)].append((-steps, place))
        self._groups = [sorted(group) for group in alike.values() if len(group) > 1]
        self._at = {
            place: (number, at)
            for number, group in enumerate(self._groups)
            for at, (steps, place) in enumerate(group)
            if steps < group[-1][0]
        }

    @property
    def longer(self) -> list[int]:
        """Places of points of which there are shorter ones, in order."""
        return sorted(self._at)

    def of(self, place: int) -> list[int]:
        """Places of those that are shorter than one, the longest first, few of many."""
        number, at = self._at[place]
        group = self._groups[number]
        return [other for steps, other in group[at + 1 : at + 1 + MOST_LOOKED_AT] if steps > group[at][0]]


def _without_length(training: str) -> str:
    """That section, as it is hashed, without its length and what may follow from it."""
    # quotes inside of texts are escaped, and a layer of this name would come before
    for name in ("steps", "schedule_steps"):
        before, _, after = training.rpartition(f'"{name}":')
        training = before + after.lstrip("0123456789")
    return training


def _without_times(measure: str) -> str:
    """That section, as it is hashed, without the steps at which it is measured."""
    return _TIMES.sub("", measure).rstrip(",}")
