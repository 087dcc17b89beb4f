"""What it costs to look at a small stack: at its points one by one, and at many that it has gone through in one call.

Both train and measure the same stacks, on one core, by turns; every number that they find is the same.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from timing import best_seconds, machine

from service.grid.expansion import expand
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train

STACKS: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "linear, one hidden layer of 8": ({"depth": 2, "width": 8}, 1000, 20, 4),
    "linear, three of 16": ({"depth": 4, "width": 16}, 1000, 20, 4),
    "linear, five of 32": ({"depth": 6, "width": 32}, 1000, 20, 4),
    "linear, five of 96": ({"depth": 6, "width": 96}, 1000, 20, 4),
    "linear, three of 16, a hundred lanes": ({"depth": 4, "width": 16}, 1000, 20, 100),
    "tanh, two of 8": ({"depth": 3, "width": 8, "activation": "tanh"}, 1000, 20, 4),
}
"""Network, steps, steps between two measured ones, lanes."""


def stack(network: dict[str, Any], steps: int, every: int, lanes: int) -> Stack:
    """Networks of different seeds."""
    document = {
        "data": {"samples": 64, "inputs": 16, "outputs": 4},
        "network": network,
        "training": {"steps": steps, "learning_rate": 0.001},
        "measure": {"every": every},
    }
    [point] = expand({"trial": document}).points
    return Stack(tuple(Lane(point.settings, seed) for seed in range(lanes)))


def trained(one: Stack, block_seconds: float) -> Callable[[], None]:
    """Train it; who wants to hear of it more often than every 50 ms has it looked at one look at a time."""

    def run() -> None:
        for _ in train(one, block_seconds=block_seconds):
            pass

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each side of each stack")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    keep_freed_memory()
    print(machine())
    print(f"{'stack':38}{'lanes':>6}{'one by one':>14}{'in one call':>14}{'ratio':>8}")
    for name, (network, steps, every, lanes) in STACKS.items():
        one = stack(network, steps, every, lanes)
        found = best_seconds({"each": trained(one, 0.04), "many": trained(one, 1.0)}, seconds)
        each, many = found["each"], found["many"]
        print(f"{name:38}{lanes:6}{1e3 * each:11.2f} ms{1e3 * many:11.2f} ms{each / many:7.1f}x", flush=True)


if __name__ == "__main__":
    main()
