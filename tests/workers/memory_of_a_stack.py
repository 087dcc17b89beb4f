"""Train one stack in a process of its own; prints the bytes it took at most, and what the cost model says."""

import ctypes
import gc
import json
import re
import sys
from pathlib import Path

import torch

from nfa_kernels.data import make_data
from service.grid import cost
from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.training import train


def peak(what: str = "VmHWM") -> int:
    """Bytes this program held at most so far (`ru_maxrss` would begin with what the parent held)."""
    held = re.search(rf"^{what}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert held is not None
    return int(held[1]) * 1024


def settled() -> int:
    """Bytes this program holds once what it freed has gone back; from here on `peak` counts anew."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak("VmRSS")


if __name__ == "__main__":
    torch.set_num_threads(1)
    document, lanes = json.loads(sys.argv[1]), int(sys.argv[2])
    settings = canonical(TrialSettings.model_validate(document))
    small = canonical(TrialSettings.model_validate({**document, "data": {**document["data"], "samples": 64}}))
    make_data("linear_teacher", 0)
    for _ in train(Stack((Lane(small, 0),))):  # libraries, and what is the same for every stack
        pass
    before = peak()
    for _ in train(Stack(tuple(Lane(settings, seed) for seed in range(lanes)))):
        pass
    shape = cost.shape_of(settings)
    assert shape is not None
    print(json.dumps({"taken": peak() - before, "estimate": lanes * cost.lane_bytes(settings, shape)}))
