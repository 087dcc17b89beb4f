"""Whole sweeps of residual, convolutional and attention networks against the torch.nn script, by turns on one core.

    python benchmarks/paired_networks.py [SWEEP ..]

The sweeps of `sweep.py` about such networks, as stacks in one process with one thread: processor time of a trial, with
its measurements, against one trial of the script (`peer_networks`), and of a trial that only starts and is measured
once. Both sides measure the loss on all samples and the alignment of the first map, at the same steps. Other work on
the machine takes turns with both sides alike.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

# before torch is imported: this package's trainers set the arithmetic of the tensor library
import workers  # noqa: F401

import torch  # isort: skip
from network_cases import CONVNET, RESMLP, TRANSFORMER, arrays_of, in_float64, network_document
from peer_networks import NetworkSweep, timed_network
from timing import machine

from service.grid.expansion import expand
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train

SWEEPS = {one.name: one for case in (RESMLP, CONVNET, TRANSFORMER) for one in (case, in_float64(case))}


def stack_of(sweep: NetworkSweep, lanes: int) -> Stack:
    """So many seeds of a sweep."""
    arrays = {"data": arrays_of(sweep)} if sweep.vocabulary else {}
    shapes = {name: {array: part.shape for array, part in parts.items()} for name, parts in arrays.items()}
    (point,) = expand(network_document(sweep, 1, "data"), datasets=shapes).points
    return Stack(tuple(Lane(point.settings, seed) for seed in range(lanes)), arrays)


def processor_seconds(run: Callable[[], object]) -> float:
    """That a call takes."""
    started = time.process_time()
    run()
    return time.process_time() - started


def paired(sweep: NetworkSweep, lanes: int, rounds: int) -> tuple[float, float]:
    """Least processor time of a trial of ours, and of the script's, by turns; the first round warms both up."""
    stack, ours, theirs = stack_of(sweep, lanes), [], []
    for number in range(rounds + 1):
        ours.append(processor_seconds(lambda: [*train(stack)]) / lanes)
        theirs.append(processor_seconds(lambda seed=number: timed_network(sweep, seed)))
    return min(ours[1:]), min(theirs[1:])


def main() -> None:
    """Print a line for each sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", choices=[*SWEEPS, []], help="default: all")
    parser.add_argument("--lanes", type=int, default=8, help="networks of a stack")
    parser.add_argument("--rounds", type=int, default=2, help="of which the best of each side counts")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(machine())
    print(f"processor time of a trial, one of a stack of {chosen.lanes}, and of the script's\n")
    for name in chosen.sweeps or SWEEPS:
        sweep = SWEEPS[name]
        whole, their_whole = paired(sweep, chosen.lanes, chosen.rounds)
        one, their_one = paired(replace(sweep, steps=0), chosen.lanes, chosen.rounds)
        sizes = f"{sweep.steps} steps, every {sweep.every}th measured"
        told = f"{1e3 * whole:7.1f} ms, the script {1e3 * their_whole:7.1f} ms {their_whole / whole:5.2f}x"
        measured = f"measured once {1e3 * one:5.1f} ms, the script {1e3 * their_one:5.1f} ms {their_one / one:5.2f}x"
        print(f"{name:20} {sizes:32} {told}; {measured}", flush=True)


if __name__ == "__main__":
    main()
