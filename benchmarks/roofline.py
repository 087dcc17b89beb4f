"""What bounds a training step and a measurement on this machine: bare products, bare passes, then ours; all cores.

    python benchmarks/roofline.py [SWEEP ..]

The bare step makes the same products and passes as a step of ours, into arrays that are there already, and nothing
else: no checks, no optimiser that others could be put in place of. A rate is of operations counted by formula
(nfa_kernels/cost.py), and its share is of a large matrix product's, with every core busy at the same thing. Products
and bare steps are the tensor library's; ours are compiled where there is a compiler. Times are of the processor. Bytes
are what a step's operations read and write, each counted by its operands: at the arrays' sizes, from and to the caches.

A measurement of networks that are not linear is told as a share of our steps between two: by its products alone, with
the eigenvectors that it cannot do without, bare, and ours.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

# before torch is imported: this package's trainers set the arithmetic of the tensor library
import workers  # noqa: F401

import torch  # isort: skip
from bare import bare_measurement, bare_step
from sweep import CASES, grid, shape_of
from timing import machine

from nfa_kernels import cost
from service.grid.expansion import expand
from service.grid.stacking import lanes_per_stack
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train

SWEEPS = ("linear-float32", "linear-float64", "relu-float32", "relu-float64", "wide", "wide-float64")
MEASURED = ("relu-float32", "relu-float32-measured-in-float64", "relu-float64", "wide")
ROUNDS, SECONDS = 3, 0.3
"""All sides take turns so often, each for about so long, in processor time."""


def of_steps(name: str) -> dict[str, float]:
    """Seconds per network of each side's step, of one process; and of an operation of a large product."""
    case, sweep, lanes = CASES[name], CASES[name].sweeps[0], stack_size(name)
    bare = bare_step(sweep, lanes)
    left, right = torch.randn(2, 1024, 1024, dtype=getattr(torch, sweep.dtype))
    idle = grid(case, case.ours)
    idle["trial"]["measure"] = {"points": 2, "metrics": ["train_loss"]}
    return by_turns(
        {
            "gemm": lambda: {"gemm": timed([lambda: left @ right]) / (2 * 1024**3)},
            "products": lambda: {"products": timed(bare.products) / lanes},
            "bare": lambda: {"bare": timed(bare.calls) / lanes},
            "ours": lambda: trained(idle, lanes, 40),
        }
    )


def of_measurements(name: str) -> dict[str, float]:
    """Seconds per network of each side's measurement, and of our step, of one process."""
    case, sweep, lanes = CASES[name], CASES[name].sweeps[0], stack_size(name)
    bare = bare_measurement(sweep, lanes)
    return by_turns(
        {
            # first, so that eigenvectors are those of an AGOP
            "bare": lambda: {"bare": timed(bare.calls) / lanes},
            "products": lambda: {"products": timed(bare.products) / lanes},
            "factorised": lambda: {"factorised": timed(bare.products + bare.eigenvectors) / lanes},
            "ours": lambda: trained(grid(case, case.ours), lanes, 4 * sweep.every),
        }
    )


def by_turns(sides: dict[str, Callable[[], dict[str, float]]]) -> dict[str, float]:
    """The mean of each number that the sides find."""
    torch.set_num_threads(1)
    keep_freed_memory()
    found: dict[str, float] = {}
    with torch.inference_mode():
        for side in sides.values():
            side()
        for _ in range(ROUNDS):
            for run in sides.values():
                for number, value in run().items():
                    found[number] = found.get(number, 0.0) + value / ROUNDS
    return found


def timed(calls: list[Callable[[], object]]) -> float:
    """Seconds of all calls in a row, the mean over about SECONDS."""
    started, runs = time.process_time(), 0
    while (now := time.process_time()) - started < SECONDS:
        for call in calls:
            call()
        runs += 1
    return (now - started) / runs


def trained(grid: dict, lanes: int, steps: int) -> dict[str, float]:
    """Seconds per network of a step and of a measurement of a stack as trainers train it."""
    grid["trial"]["training"]["steps"] = steps
    settings = expand(grid | {"seeds": 1}).points[0].settings
    stack, times = Stack(tuple(Lane(settings, seed) for seed in range(lanes))), (time.process_time, time.monotonic)
    started = [clock() for clock in times]
    blocks = list(train(stack))
    processor, wall = (clock() - began for clock, began in zip(times, started, strict=True))
    stepping, measuring = (
        # told by the wall, of which other guests of the machine have their part
        processor / wall * sum(getattr(b, f"{what}_seconds") for b in blocks) / lanes
        for what in ("training", "measuring")
    )
    return {"ours": stepping / steps, "measured": measuring / sum(block.network.num_rows for block in blocks) * lanes}


def stack_size(name: str) -> int:
    """Networks of a stack of a sweep, on this machine."""
    case = CASES[name]
    settings = expand(grid(case, case.ours)).points[0].settings
    return lanes_per_stack(case.ours, os.cpu_count() or 1, settings)


def of_every_core(
    pool: ProcessPoolExecutor, timing: Callable[[str], dict[str, float]], name: str, cores: int
) -> dict[str, float]:
    """The mean over processes that do the same at the same time, one per core."""
    sides = list(pool.map(timing, [name] * cores))
    return {side: sum(one[side] for one in sides) / cores for side in sides[0]}


def main() -> None:
    """Print a line per sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = dict.fromkeys((*SWEEPS, *MEASURED))
    parser.add_argument("sweeps", nargs="*", choices=[*every, []], help="default: all")
    chosen = parser.parse_args().sweeps or every
    cores = os.cpu_count() or 1
    print(machine())
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        print(f"a step of one network; rates of one of {cores} processes, all busy\n")
        columns = f"{'networks':>8} {'kFLOP':>7} {'kB':>6}   {'large product':>13}  {'products':>8}  {'bare step':>9}"
        print(f"{'':15} {columns}  our step")
        for name in SWEEPS:
            if name in chosen:
                print(told_step(name, of_every_core(pool, of_steps, name, cores)), flush=True)
        print("\na measurement of one network, as a share of our steps between two\n")
        columns = f"{'kFLOP':>7}  {'products':>8}  {'and eigenvectors':>16}  {'bare measurement':>16}"
        print(f"{'':32} {columns}  our measurement")
        for name in MEASURED:
            if name in chosen:
                print(told_measurement(name, of_every_core(pool, of_measurements, name, cores)), flush=True)


def told_step(name: str, mean: dict[str, float]) -> str:
    """The line of a sweep's step."""
    sweep, lanes = CASES[name].sweeps[0], stack_size(name)
    operations = cost.step_flops(shape_of(sweep))
    shares = [operations / mean[side] * mean["gemm"] for side in ("products", "bare", "ours")]
    counted = f"{lanes:8} {operations / 1e3:7.0f} {bare_step(sweep, lanes).bytes / lanes / 1e3:6.0f}"
    told = "  ".join(f"{share:{width}.0%}" for share, width in zip(shares, (8, 9, 8), strict=True))
    return f"{name:15} {counted}   {1 / mean['gemm'] / 1e9:6.1f} GFLOP/s  {told}"


def told_measurement(name: str, mean: dict[str, float]) -> str:
    """The line of a sweep's measurement."""
    sweep = CASES[name].sweeps[0]
    operations = cost.alignment_flops(shape_of(sweep), sweep.samples)
    shares = [mean[side] / mean["ours"] / sweep.every for side in ("products", "factorised", "bare", "measured")]
    told = "  ".join(f"{share:{width}.0%}" for share, width in zip(shares, (8, 16, 16, 15), strict=True))
    return f"{name:32} {operations / 1e3:7.0f}  {told}"


if __name__ == "__main__":
    main()
