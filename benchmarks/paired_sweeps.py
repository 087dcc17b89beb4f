"""Sweeps of fully connected networks against the pool's script and JAX, by turns: processor time of a trial.

    python benchmarks/paired_sweeps.py [--rounds N] [SWEEP ..]

Each side is a process on one core with one thread: ours trains a stack as large as the service cuts it (of relu
networks at most eight), the script one network, JAX eight (vmap over seeds; four of wide ones), after a first turn that
is not counted. Processor time tells the sides apart on a machine that has other guests; what the service adds to its
kernels is in sweep.py. Medians of the turns, and a step's share of a large product in the same process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from peer_training import Sweep, sweep_of, timed

HERE = Path(__file__)
ORDER = ("ours", "script", "jax")
SHAPES = 8
"""Of a mixed sweep, on both sides."""
SWEEPS = ("linear-float32", "linear-float64", "relu-float32", "wide", "small", "mixed")
MOST_RELU = 8
OF_JAX = {"wide": 4, "mixed": 0}
"""Networks that JAX trains at once, where they are not eight; it would compile anew for each shape of a mixed sweep."""


def ours(name: str) -> Callable[[], dict[str, float]]:
    """Seconds of a trial of a stack, its steps' share of a large product's rate, and measuring's of the steps' time."""
    import torch
    from sweep import CASES, grid, operations_of

    from service.grid.expansion import expand
    from service.grid.stacking import lanes_per_stack
    from workers.allocation import keep_freed_memory
    from workers.blocks import Lane, Stack
    from workers.training import train

    torch.set_num_threads(1)
    keep_freed_memory()
    case, stacks = CASES[name], []
    every = expand(grid(case, case.ours)).points
    seeds, points = case.ours // len(every), every[:: max(1, len(every) // SHAPES)]
    for point in points:
        lanes = lanes_per_stack(seeds, 2, point.settings, point.shape, keys=len(every))
        if case.sweeps[0].activation == "relu":
            lanes = min(lanes, MOST_RELU)
        stacks.append(Stack(tuple(Lane(point.settings, seed) for seed in range(lanes))))
    trials, steps = sum(len(stack.lanes) for stack in stacks), case.sweeps[0].steps
    shapes = case.sweeps[:: max(1, len(every) // SHAPES)]
    operations = sum(map(operations_of, shapes)) / len(shapes)
    left, right = torch.randn(2, 1024, 1024, dtype=getattr(torch, case.sweeps[0].dtype))

    def turn() -> dict[str, float]:
        rate = 2 * 1024**3 / min(processor_seconds(lambda: left @ right) for _ in range(5))
        blocks = []
        taken = processor_seconds(lambda: blocks.extend(block for stack in stacks for block in train(stack))) / trials
        stepping, measuring = (sum(getattr(b, f"{what}_seconds") for b in blocks) for what in ("training", "measuring"))
        # these are wall time: how they share it out is taken of the processor's
        step = taken * stepping / (stepping + measuring) / steps
        return {"seconds": taken, "share": operations / step / rate, "measuring": measuring / stepping}

    return turn


def of_peer(kind: str, sweeps: list[Sweep], lanes: int) -> Callable[[], dict[str, float]]:
    """Seconds of a trial of a peer."""
    if kind == "script":
        # the clock of `timed` is the wall's
        return lambda: {"seconds": processor_seconds(lambda: [timed(one, 0) for one in sweeps]) / len(sweeps)}
    from peer_jax import compiled

    run = compiled(sweeps[0], range(lanes))
    return lambda: {"seconds": processor_seconds(run) / lanes}


def processor_seconds(run: Callable[[], object]) -> float:
    """That a call takes."""
    started = time.process_time()
    run()
    return time.process_time() - started


def serve(kind: str, name: str, sweeps: list[dict[str, Any]], lanes: int) -> None:
    """Take a turn for each line that comes, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    turn = ours(name) if kind == "ours" else of_peer(kind, [sweep_of(one) for one in sweeps], lanes)
    turn()
    for _ in sys.stdin:
        print(json.dumps(turn()), flush=True)


def side(kind: str, name: str, sweeps: list[Sweep], lanes: int) -> "subprocess.Popen[str]":
    """The process of a side."""
    command = [sys.executable, str(HERE), "--serve", json.dumps([kind, name, [asdict(one) for one in sweeps], lanes])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    if kind == "ours":
        # as trainers set the arithmetic of the tensor library
        environment |= {"MKL_CBWR": "AUTO,STRICT"}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def turns(name: str, sweeps: list[Sweep], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of each side that is installed."""
    found: dict[str, list[dict[str, float]]] = {}
    lanes = OF_JAX.get(name, 8)
    sides = {kind: side(kind, name, sweeps, lanes) for kind in ORDER if kind != "jax" or (lanes and find_spec("jax"))}
    for _ in range(rounds):
        for kind, process in sides.items():
            assert process.stdin and process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            found.setdefault(kind, []).append(json.loads(process.stdout.readline()))
    for process in sides.values():
        process.communicate()
    return {
        kind: {what: statistics.median(one[what] for one in taken) for what in taken[0]}
        for kind, taken in found.items()
    }


def main() -> None:
    """Print a line for each sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", choices=[*SWEEPS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(*json.loads(chosen.serve))
        return
    from sweep import CASES
    from timing import machine

    print(machine())
    print("processor time of a trial, one of a stack, of the script's and of JAX's; steps' share of a large product\n")
    for name in chosen.sweeps or SWEEPS:
        shapes = CASES[name].sweeps
        taken = turns(name, list(shapes[:: max(1, len(shapes) // SHAPES)]), chosen.rounds)
        own = taken.pop("ours")
        told = [
            f"{kind} {1e3 * one['seconds']:8.1f} ms {one['seconds'] / own['seconds']:6.1f}x"
            for kind, one in taken.items()
        ]
        shares = f"steps {own['share']:4.0%}, measuring {own['measuring']:4.0%} of them"
        print(f"{name:15} {1e3 * own['seconds']:7.2f} ms; {'; '.join(told)}; {shares}", flush=True)


if __name__ == "__main__":
    main()
