"""How long stacks take on each kind of trainer: what was seen of them, and before that what the cost model says."""

from collections.abc import Mapping
from typing import Any, Final

from service.grid import cost
from service.grid.data_shapes import DataShape
from service.grid.stacking import max_lanes
from workers.division import UNKNOWN, Timing
from workers.sizing import Device

_GPU_TIMES: Final = 20.0
"""How many times the arithmetic of a core a GPU is taken to do before anything was seen of it."""
_HOPE: Final = 10.0
"""How many times as fast as the model says a GPU may turn out; on CPUs it is right within a factor of two or so."""
_APART: Final = 1.5
"""Stacks of two sizes tell what a lane takes where one has so many times the lanes of the other."""
_MOST_KEYS: Final = 1_000
_NEWEST: Final = 0.3
"""How much the newest stack weighs in what is taken for a kind's pace."""


def expected(settings: Mapping[str, Any], shape: DataShape | None, device: Device, memory_bytes: int | None) -> Timing:
    """What the cost model says of stacks of such trials; of data whose shape is unknown, seconds without a scale."""
    most = max_lanes(settings, shape, memory_bytes)
    times, hope = (_GPU_TIMES, _HOPE) if device == "gpu" else (1.0, 1.0)
    if shape is None:
        return Timing(0.0, 1.0 / times, most, UNKNOWN, hope)
    start, one = (cost.stack_seconds(settings, shape, lanes) for lanes in (0, 1))
    return Timing(start, (one - start) / times, most, UNKNOWN, hope)


class Speeds:
    """What one dispatcher has seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Device], dict[int, float]] = {}
        """By stack key and kind: lanes -> seconds, of stacks of at most two sizes."""
        self._pace: dict[Device, float] = {}
        """Seconds for one that the model expects."""

    def timing(self, key: str, device: Device, model: Timing) -> Timing:
        """Of stacks of a key on a kind of trainer, by what was seen of it, of others on that kind, or of nothing."""
        seen = self._seen.get((key, device))
        if seen is None:
            # CPUs that were seen tell how fast GPUs may be; of these the model knows too little to tell of CPUs
            pace = self._pace.get(device) or self._pace.get("cpu", 1.0)
            return _scaled(model, pace, UNKNOWN)
        if len(seen) == 1:
            [(lanes, seconds)] = seen.items()
            return _scaled(model._replace(hope=1.0), seconds / model.seconds(lanes), 1)
        (few, short), (many, long) = sorted(seen.items())
        each = min(max(0.0, (long - short) / (many - few)), long / many)
        return Timing(long - many * each, each, model.most, 1)

    def observe(self, key: str, device: Device, model: Timing, lanes: int, seconds: float) -> None:
        """Note how long a stack took, or will take by how far it has come.

        Args:
            key: its stack key.
            device: the kind of trainer.
            model: what was expected of such stacks.
            lanes: it began with.
            seconds: from its start to its end.
        """
        before = self._seen.pop((key, device), {})
        others = {size: took for size, took in before.items() if max(size, lanes) >= _APART * min(size, lanes)}
        newest = dict(list(others.items())[-1:])
        self._seen[key, device] = newest | {lanes: seconds}
        if len(self._seen) > _MOST_KEYS:
            del self._seen[next(iter(self._seen))]
        pace = seconds / model.seconds(lanes)
        self._pace[device] = self._pace.get(device, pace) ** (1 - _NEWEST) * pace**_NEWEST


def _scaled(model: Timing, pace: float, caution: int) -> Timing:
    return Timing(model.start * pace, model.each * pace, model.most, caution, model.hope)
