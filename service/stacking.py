"""Which trials may be trained as one stack of tensors, and how many at a time. Pure; previews and workers share it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

SHAPE: Final = ("samples", "inputs", "outputs", "test_samples")
"""Settings under `data` that the lanes of a stack share: the shapes of x, y, x_test and y_test."""

PER_LANE: Final = frozenset({"learning_rate", "weight_decay", "momentum", "beta1", "beta2", "epsilon", "rho"})
"""Settings under `training` that lanes of one stack may differ in."""

MAX_LANES: Final = 4096


def stack_key(settings: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of all that trials of one stack share.

    Lanes may differ in their seed, in how data of one shape and initial weights are drawn, and in the numbers of
    their update rule; everything else decides the sequence of tensor operations.

    Args:
        settings: canonical settings of a trial.
    """
    data = settings["data"]
    shared = {
        "shape": {name: data[name] for name in SHAPE if name in data} or data,
        "network": settings["network"],
        "training": {name: value for name, value in settings["training"].items() if name not in PER_LANE},
        "measure": settings["measure"],
    }
    text = json.dumps(shared, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def lanes_per_stack(waiting: int, slots: int, settings: Mapping[str, Any] | None = None) -> int:
    """How many of the waiting trials of one stack key to train together, so that every slot gets a share.

    Args:
        waiting: trials that wait with this stack key, >= 1.
        slots: trainers that can run at once, >= 1.
        settings: canonical settings of one of them; unused lanes of memory are bounded by it when given.
    """
    share = -(-waiting // max(slots, 1))
    return max(1, min(share, MAX_LANES))


def count_stacks(waiting: Mapping[str, int], slots: int) -> int:
    """Number of stacks that trials waiting by stack key are cut into."""
    return sum(-(-count // lanes_per_stack(count, slots)) for count in waiting.values() if count)
