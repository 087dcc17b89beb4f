"""Fully connected networks of this checkout against those of another one, by turns: is a change slower?

    git worktree add ../before COMMIT
    python benchmarks/paired_mlp.py ../before [--rounds N]

Each side is a process that trains stacks of the MLP's sweeps when it is told to, one thread; they take turns, and the
ratio is of processor times of a turn to the turn beside it: median, and the least and most.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
TURN = """
import sys, time, json
import workers
import torch
from service.grid.expansion import expand
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train
torch.set_num_threads(1)
keep_freed_memory()
stacks = []
for activation, dtype, steps, lanes in json.loads(sys.argv[1]):
    grid = {"name": "m", "seeds": 1, "trial": {
        "data": {"samples": 256, "inputs": 32, "outputs": 4, "spectrum": [1.0] * 4},
        "network": {"depth": 3, "width": 64, "activation": activation},
        "training": {"learning_rate": 0.01, "weight_decay": 0.01, "steps": steps, "dtype": dtype},
        "measure": {"every": 20, "metrics": ["train_loss", "alignment"], "dtype": dtype}}}
    settings = expand(grid).points[0].settings
    stacks.append(Stack(tuple(Lane(settings, seed) for seed in range(lanes))))
for line in sys.stdin:
    started = time.process_time()
    for _ in train(stacks[int(line)]):
        pass
    print(time.process_time() - started, flush=True)
"""
CASES: list[tuple[str, str, int, int]] = [
    ("linear", "float32", 400, 64),
    ("linear", "float64", 400, 64),
    ("relu", "float32", 40, 32),
    ("relu", "float64", 40, 32),
]
"""Activation, dtype, steps and networks of a stack."""


def side(checkout: Path) -> "subprocess.Popen[str]":
    """A process that trains a case of a checkout for each line it is sent, and answers the seconds."""
    command = [sys.executable, "-P", "-c", TURN, json.dumps(CASES)]
    paths = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=checkout, env=paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def seconds(process: Any, case: int) -> float:
    """Of one turn."""
    process.stdin.write(f"{case}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    """Print the ratio of every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a checkout to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    ours, theirs = side(HERE), side(chosen.other.resolve())
    for case, (activation, dtype, steps, lanes) in enumerate(CASES):
        ratios = []
        for number in range(chosen.rounds + 1):
            pair = (ours, theirs) if number % 2 else (theirs, ours)
            taken = {process: seconds(process, case) for process in pair}
            ratios.append(taken[ours] / taken[theirs])
        least, middle, most = min(ratios[1:]), statistics.median(ratios[1:]), max(ratios[1:])
        told = f"{activation:7} {dtype}, {lanes} networks, {steps} steps"
        print(f"{told}: {middle:.3f} of the other's time ({least:.3f} .. {most:.3f})", flush=True)
    for process in (ours, theirs):
        process.communicate()


if __name__ == "__main__":
    main()
