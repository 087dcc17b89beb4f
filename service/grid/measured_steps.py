"""The steps (or, for gradient flow, the times) at which a trial is measured. Pure; preview and workers share it."""

from collections.abc import Mapping
from typing import Any

import numpy as np


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
