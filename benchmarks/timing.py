"""What every benchmark here prints and how it times: the machine, the best of several repetitions, sides in turn."""

import os
import platform
import time
from collections.abc import Callable, Mapping

import torch


def machine() -> str:
    """CPU, cores and versions, in one line."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}"


def best_seconds(sides: Mapping[str, Callable[[], object]], seconds: float = 2.0) -> dict[str, float]:
    """Least processor time of each side, on one thread, over rounds in which all take turns.

    On a machine that has other guests neither what they take nor when harms a side alone.
    """
    for run in sides.values():
        run()
    found = dict.fromkeys(sides, float("inf"))
    until = time.perf_counter() + seconds * len(sides)
    while time.perf_counter() < until:
        for name, run in sides.items():
            started = time.process_time()
            run()
            found[name] = min(found[name], time.process_time() - started)
    return found


def gemm_rate(dtype: torch.dtype, size: int = 1024) -> float:
    """Operations per second of a large matrix product: the machine's own limit, in the same run."""
    left, right = torch.randn(2, size, size, dtype=dtype)
    return 2 * size**3 / best_seconds({"gemm": lambda: left @ right}, 1.0)["gemm"]
