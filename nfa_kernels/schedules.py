"""Factor on the learning rate at each step, shared by a stack."""

import math


def factor(schedule: str, step: int, steps: int, length: int = 1, drop: float = 0.1) -> float:
    """Factor of update number `step` = 0 .. steps - 1.

    constant: 1. cosine: (1 + cos(pi step / steps)) / 2. step: drop^floor(step / length),
    infinite where that is beyond the largest number.
    warmup: (step + 1) / length, at most 1.

    Raises:
        ValueError: unknown schedule.
    """
    match schedule:
        case "constant":
            return 1.0
        case "cosine":
            return (1 + math.cos(math.pi * step / steps)) / 2
        case "step":
            try:
                return drop ** (step // length)
            except OverflowError:  # drop above 1
                return math.inf
        case "warmup":
            return min(1.0, (step + 1) / length)
    raise ValueError(f"schedule: received {schedule!r}, allowed are constant, cosine, step, warmup")
