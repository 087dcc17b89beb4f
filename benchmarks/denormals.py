"""What one network of denormal numbers costs its stack of 64, with and without flushing them, by turns in one process.

python benchmarks/denormals.py
"""

import contextlib
import math
import time

import torch

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.preparing import flushed_denormals
from workers.training import _Run

LANES, STEPS, TURNS = 64, 10, 8


def stack(activation: str, dtype: str, scale: float) -> _Run:
    """64 networks, the last of which begins at a scale."""

    def lane(seed: int, begins: float) -> Lane:
        document = {
            "data": {"samples": 64, "inputs": 16, "outputs": 4},
            "network": {"depth": 3, "width": 32, "activation": activation},
            "init": {"scale": begins},
            "training": {"learning_rate": 1e-3, "steps": 10_000_000, "dtype": dtype},
            "measure": {"steps": [0], "metrics": ["train_loss"]},
        }
        return Lane(canonical(TrialSettings.model_validate(document)), seed)

    lanes = (*(lane(seed, 1.0) for seed in range(LANES - 1)), lane(LANES - 1, scale))
    with torch.inference_mode():
        return _Run(Stack(lanes), torch.device("cpu"), 1e9)


def main() -> None:
    torch.set_num_threads(1)
    for activation, dtype, scale in (
        ("linear", "float64", 1e-155),
        ("relu", "float64", 1e-155),
        ("linear", "float32", 1e-20),
        ("relu", "float32", 1e-20),
    ):
        runs = {"healthy": stack(activation, dtype, 1.0), "one denormal": stack(activation, dtype, scale)}
        for told, guard in (("as they are", contextlib.nullcontext), ("flushed", flushed_denormals)):
            seconds = dict.fromkeys(runs, math.inf)
            with torch.inference_mode(), guard():
                for _ in range(TURNS):
                    for name, run in runs.items():
                        began = time.process_time()
                        for _ in range(STEPS):
                            run.motion.advance(1)
                        seconds[name] = min(seconds[name], time.process_time() - began)
            ratio = seconds["one denormal"] / seconds["healthy"]
            print(f"{activation} {dtype}, {told}: {1e6 * seconds['healthy'] / STEPS:.0f} us a step, x {ratio:.2f}")


if __name__ == "__main__":
    main()
