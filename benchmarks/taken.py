"""What a part of a benchmark took of a service that runs in processes of this one."""

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import psutil


class Took(NamedTuple):
    """Seconds of a part: by the clock, and of processor time, which neighbours on the machine disturb less."""

    wall: float
    cpu: float


def cpu() -> float:
    """Seconds of processor time that the processes below this one have taken so far."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def share(parts: Sequence[Took], wholes: Sequence[Took]) -> Took:
    """What the parts took of what the wholes took, both summed over rounds."""
    wall, used = (sum(one[at] for one in parts) / sum(one[at] for one in wholes) for at in (0, 1))
    return Took(wall, used)
