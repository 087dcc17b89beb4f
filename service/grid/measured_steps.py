"""The steps (or, for gradient flow, the times) at which a trial is measured. Pure; preview and workers share it."""

import bisect
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

DEFAULT_POINTS: Final = 60
"""Measured steps where nothing is said about them."""
_LISTED: Final = 2_000
"""Points up to which measured steps are counted one by one; of more there are about as many as a formula says."""


def measured_steps(settings: Mapping[str, Any]) -> list[int]:
    """Steps measured by a trial with these canonical settings: increasing, from 0 or later, the last step included."""
    measure, last = settings["measure"], int(settings["training"]["steps"])
    if "every" in measure:
        steps = range(0, last + 1, measure["every"])
    elif "steps" in measure:
        steps = [step for step in measure["steps"] if step <= last]
    elif measure["spacing"] == "linear":
        steps = np.round(np.linspace(0, last, measure["points"])).astype(int).tolist()
    else:
        steps = [0, *np.round(np.geomspace(1, max(last, 1), measure["points"] - 1)).astype(int).tolist()]
    return sorted({*(step for step in steps if step <= last), last})


def measured_count(settings: Mapping[str, Any]) -> int:
    """How many steps, or times, a trial with these canonical settings measures; about, where they are many."""
    measure = settings["measure"]
    if "steps" not in settings["training"]:
        return measure["points"]
    last = int(settings["training"]["steps"])
    if "every" in measure:
        return -(-last // measure["every"]) + 1
    if "steps" in measure:
        return bisect.bisect_left(measure["steps"], last) + 1
    points = measure["points"]
    if points <= _LISTED:
        return len(measured_steps(settings))
    if measure["spacing"] == "linear" or last < 2:
        return min(points, last + 1)
    # up to 1 / h neighbours are nearer than one to each other, and every whole number is measured
    h = math.log(last) / (points - 2)
    return last + 1 if h * last <= 1 else round((1 + math.log(h)) / h) + points


def measured_times(settings: Mapping[str, Any]) -> list[float]:
    """Flow times measured by a gradient-flow trial; their index is the `step` of its measurements."""
    measure, horizon = settings["measure"], float(settings["training"]["horizon"])
    if "every" in measure:
        raise ValueError("gradient_flow measures at times: use points, not every")
    if "steps" in measure:
        raise ValueError("gradient_flow measures at times: use points, not steps")
    if measure["spacing"] == "linear":
        times = np.linspace(0, horizon, measure["points"]).tolist()
    else:
        times = [0.0, *np.geomspace(horizon / 1000, horizon, max(measure["points"] - 1, 1)).tolist()]
    return sorted({*times, horizon})
