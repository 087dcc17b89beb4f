"""How trials that any trainer may have are divided between kinds of trainers, so that all end together. Pure.

What waits is given out by the time it takes: the earliest moment is looked for by which all trainers together could
have trained it, each from when it is free, and a trainer takes what it can train until then. Where that is nothing,
the others have it sooner done, and it leaves it to them.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from workers.sizing import Device

UNKNOWN: Final = 12
"""Where stacks of a key were not timed on a kind, it begins with one part in so many of what it seems to be worth.

That may be wrong a hundredfold: small networks take as long on a GPU as large ones.
"""
_ROUNDS: Final = 24
"""Halvings of the time in which all is done: to a ten-millionth of it."""

TOGETHER_SECONDS: Final = 0.1
"""Small stacks are given to a trainer together until they take so long: it waits for the next ones once."""
_TURNS: Final = 4
"""So many turns of every trainer are left for what waits, so that all end together."""


class Timing(NamedTuple):
    """Seconds of a stack on one kind of trainer: start + lanes * each."""

    start: float
    each: float
    most: int
    """Lanes that a stack may have, >= 1."""
    caution: int = 1
    """A trainer takes one part in so many of its share at first: 1 where stacks of the same key were timed."""
    hope: float = 1.0
    """A lane may turn out to take one part in so many of `each`: 1 where a stack was timed, and on CPUs."""

    def seconds(self, lanes: int) -> float:
        """Of a stack of so many lanes."""
        return self.start + lanes * self.each

    def lanes_in(self, seconds: np.ndarray) -> np.ndarray:
        """Lanes of the stacks that trainers can train one after the other, each in so many seconds."""
        seconds, whole = np.maximum(seconds, 0.0), self.seconds(self.most)
        full = np.floor(seconds / whole)
        left = seconds - full * whole - self.start
        # a lane that would end a rounding error later is one
        more = np.floor(left / self.each * (1 + 1e-9)) if self.each else np.full_like(left, self.most)
        more = np.where((left < 0.0) | (seconds == 0.0), 0.0, np.minimum(more, self.most))
        return (full * self.most + more).astype(np.int64)


class Kind(NamedTuple):
    """The trainers of one kind."""

    timing: Timing
    free_in: np.ndarray
    """Seconds until each has nothing more to do, 0 for those that have nothing now."""

    def with_at_most(self, lanes: int) -> "Kind":
        """The same where stacks have no more lanes than that."""
        return self._replace(timing=self.timing._replace(most=min(self.timing.most, lanes)))

    @property
    def as_hoped(self) -> "Kind":
        """The same where lanes take the least that they may turn out to take."""
        timing = self.timing
        return self if timing.hope == 1.0 else self._replace(timing=timing._replace(each=timing.each / timing.hope))

    def lanes_by(self, seconds: float) -> np.ndarray:
        """Lanes that each of them could have trained by then."""
        return self.timing.lanes_in(seconds - self.free_in)


class Part(NamedTuple):
    """What falls to one kind."""

    lanes: int
    """Of what waits; 0: others have it sooner done."""
    trainers: int
    """Of this kind that take part in it, those that are busy yet among them."""


def part_of(device: Device, trials: int, kinds: Mapping[Device, Kind], keys: int = 1) -> Part:
    """What one kind should train of trials that any kind may have, whose idle trainers come first.

    Args:
        device: the kind, whose trainers are among the kinds.
        trials: that wait with one stack key, >= 1.
        kinds: every kind that may have them, each with a trainer at the least.
        keys: that wait, each with about as many; no stack has trials of two.
    """
    waiting = trials * keys
    kinds = {name: one.with_at_most(trials) for name, one in kinds.items()}
    kind = kinds[device]
    if _waits(device, waiting, kinds):
        return Part(0, 0)
    until = _earliest(waiting, kinds)
    each = kind.lanes_by(until)
    lanes, takers = min(waiting, int(each.sum())), int(np.count_nonzero(each))
    if not each[kind.free_in.argmin()]:
        return Part(0, 0)
    caution = max(one.timing.caution for name, one in kinds.items() if name == device or one.free_in.any())
    if len(kinds) > 1 and caution > 1:
        # fewer than cost as much as the start of a stack are no test of how long they take
        least = takers * math.ceil(kind.timing.start / kind.timing.each) if kind.timing.each else lanes
        lanes = min(lanes, max(takers, min(least, kind.timing.most), lanes // caution))
    return Part(lanes, takers)


def goes_on(seconds: float, keys: int, trainers: int) -> bool:
    """Whether a trainer gets another stack together with those that it is being given.

    Args:
        seconds: that these take.
        keys: stack keys that waited before the last one of them was taken, which was one of these.
        trainers: that what waits is for, >= 1.
    """
    return seconds < TOGETHER_SECONDS and keys > _TURNS * trainers


def _waits(device: Device, waiting: int, kinds: Mapping[Device, Kind]) -> bool:
    """Whether one of a kind's trials takes longer than others, of which a first stack will tell, may need for all."""
    hopeful = {name: one if name == device else one.as_hoped for name, one in kinds.items()}
    if all(hopeful[name] is one for name, one in kinds.items()):
        return False
    return not kinds[device].lanes_by(_earliest(waiting, hopeful))[kinds[device].free_in.argmin()]


def _earliest(waiting: int, kinds: Mapping[Device, Kind]) -> float:
    """Seconds until all that waits could be trained."""

    def is_done(seconds: float) -> bool:
        return sum(int(kind.lanes_by(seconds).sum()) for kind in kinds.values()) >= waiting

    late = max(float(kind.free_in.min()) + kind.timing.seconds(1) for kind in kinds.values())
    while not is_done(late):
        late *= 2.0
    early = 0.0
    for _ in range(_ROUNDS):
        middle = 0.5 * (early + late)
        early, late = (early, middle) if is_done(middle) else (middle, late)
    return late
