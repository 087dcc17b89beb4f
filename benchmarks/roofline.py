"""What bounds a training step on this machine: its products alone, its passes over memory, then our step; all cores.

    python benchmarks/roofline.py [SWEEP ..]

The bare step makes the same products and passes as a step of ours, into arrays that are there already, and nothing
else: no checks, no optimiser that others could be put in place of. A rate is of operations counted by formula
(nfa_kernels/cost.py), and its share is of a large matrix product's, with every core busy at the same thing. Bytes are
what a step's operations read and write, each counted by its operands: at the arrays' sizes, from and to the caches.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

# before torch is imported: this package's trainers set the arithmetic of the tensor library
import workers  # noqa: F401

import torch  # isort: skip
from peer_training import Sweep
from sweep import CASES, grid, shape_of
from timing import machine
from torch import Tensor

from nfa_kernels import cost
from nfa_kernels.networks import Architecture, laid_out
from service.grids import expand
from service.stacking import lanes_per_stack
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train

SWEEPS = ("linear-float32", "linear-float64", "relu-float32", "relu-float64", "wide", "wide-float64")
ROUNDS, SECONDS = 8, 0.3
"""All sides take turns so often, each for about so long."""
CHUNK_BYTES = 1 << 20
"""Of the activations that are passed through at once, as in nfa_kernels/networks.py."""
KEEP, RATE = 0.9999, -1e-6


@dataclass
class Bare:
    """A step as a list of calls, with what each reads and writes."""

    products: list[Callable[[], object]] = field(default_factory=list)
    calls: list[Callable[[], object]] = field(default_factory=list)
    bytes: int = 0

    def product(self, left: Tensor, right: Tensor, out: Tensor) -> None:
        """out = left @ right."""
        if out.stride(-1) == 1:
            self.add(lambda: torch.bmm(left, right, out=out), left, right, out)
        else:
            self.add(lambda: torch.bmm(right.mT, left.mT, out=out.mT), left, right, out)
        self.products.append(self.calls[-1])

    def update(self, weight: Tensor, left: Tensor, right: Tensor) -> None:
        """Weight = KEEP weight + RATE left @ right."""
        self.add(lambda: weight.baddbmm_(left, right, beta=KEEP, alpha=RATE), left, right, weight, weight)
        self.products.append(self.calls[-1])

    def add(self, call: Callable[[], object], *arrays: Tensor) -> None:
        """A call over arrays; one that is read and written is named twice."""
        self.calls.append(call)
        self.bytes += sum(array.numel() * array.element_size() for array in arrays)


def bare_step(sweep: Sweep, lanes: int) -> Bare:
    """The bare step of a stack of so many networks."""
    return (bare_linear if sweep.activation == "linear" else bare_activated)(sweep, lanes)


def bare_linear(sweep: Sweep, lanes: int) -> Bare:
    """Through the thin side, on the second moments of the data; see nfa_kernels/products.py."""
    dtype, bare = getattr(torch, sweep.dtype), Bare()
    weights = _weights(sweep, lanes, dtype)
    inputs, outputs = sweep.widths[0], sweep.widths[-1]
    xx, yx, end = torch.randn(lanes, inputs, inputs, dtype=dtype), *torch.randn(2, lanes, outputs, inputs, dtype=dtype)
    partial = [weights[-1]]
    for weight in reversed(weights[:-1]):
        partial.append(torch.empty(lanes, outputs, weight.shape[2], dtype=dtype))
        bare.product(partial[-2], weight, partial[-1])
    bare.product(partial[-1], xx, end)
    bare.add(lambda: end.sub_(yx), end, yx, end)
    rights = [end]
    for weight in weights[:-1]:
        rights.append(torch.empty(lanes, outputs, weight.shape[1], dtype=dtype))
        bare.product(rights[-2], weight.mT, rights[-1])
    for layer, weight in enumerate(weights[:-1]):
        bare.update(weight, partial[-2 - layer].mT, rights[layer])
    _plain_update(bare, weights[-1], rights[-1])
    return bare


def bare_activated(sweep: Sweep, lanes: int) -> Bare:
    """Forward and back, a few networks at a time; layers wider than the batch are updated from thin factors."""
    dtype, bare = getattr(torch, sweep.dtype), Bare()
    weights, samples = _weights(sweep, lanes, dtype), sweep.batch_size or sweep.samples
    # the longer of samples and features lies side by side, as in nfa_kernels/networks.py
    data = (torch.randn(lanes, samples, width, dtype=dtype) for width in (sweep.widths[0], sweep.widths[-1]))
    x, y = (laid_out(Architecture(sweep.widths, sweep.activation), one).mT for one in data)
    is_thin = sweep.batch_size is not None
    size = lanes if is_thin else max(1, CHUNK_BYTES // (samples * sum(sweep.widths) * x.element_size()))
    gradients = [torch.empty_like(weight) for weight in weights]
    for first in range(0, lanes, size):
        some = slice(first, first + size)
        _pass(bare, [w[some] for w in weights], [g[some] for g in gradients], x[some], y[some], is_thin=is_thin)
    if not is_thin:
        for weight, gradient in zip(weights, gradients, strict=True):
            _plain_update(bare, weight, gradient)
    return bare


def _pass(bare: Bare, weights: list[Tensor], gradients: list[Tensor], x: Tensor, y: Tensor, *, is_thin: bool) -> None:
    """Forward and back through a few networks."""
    hidden = [x]
    for layer, weight in enumerate(weights):
        after = _empty(x, weight.shape[1])
        bare.product(weight, hidden[-1], after)
        if layer < len(weights) - 1:
            bare.add(lambda after=after: torch.relu_(after), after, after)
        hidden.append(after)
    outputs = hidden[-1]
    bare.add(lambda: outputs.sub_(y), outputs, y, outputs)
    deltas = [outputs]
    for layer in range(len(weights) - 1, 0, -1):
        back, before = _empty(x, hidden[layer].shape[1]), hidden[layer]
        bare.product(weights[layer].mT, deltas[-1], back)
        backward = torch.ops.aten.threshold_backward.grad_input
        bare.add(lambda back=back, z=before, f=backward: f(back, z, 0, grad_input=back), back, before, back)
        deltas.append(back)
    for layer, delta in enumerate(reversed(deltas)):
        if is_thin:
            bare.update(weights[layer], delta, hidden[layer].mT)
        else:
            bare.product(delta, hidden[layer].mT, gradients[layer])


def _empty(x: Tensor, width: int) -> Tensor:
    """Room for activations (K, width, N) that lie in memory as x does."""
    stack, _, samples = x.shape
    return x.new_empty(stack, width, samples) if x.stride(-1) == 1 else x.new_empty(stack, samples, width).mT


def _plain_update(bare: Bare, weight: Tensor, gradient: Tensor) -> None:
    bare.add(lambda: weight.mul_(KEEP), weight, weight)
    bare.add(lambda: weight.add_(gradient, alpha=RATE), weight, gradient, weight)


def _weights(sweep: Sweep, lanes: int, dtype: torch.dtype) -> list[Tensor]:
    pairs = zip(sweep.widths, sweep.widths[1:], strict=False)
    return [torch.randn(lanes, after, before, dtype=dtype) / before**0.5 for before, after in pairs]


def seconds(name: str) -> dict[str, float]:
    """Seconds per network of each side's step, of one process; and of an operation of a large product."""
    torch.set_num_threads(1)
    keep_freed_memory()
    case, sweep = CASES[name], CASES[name].sweeps[0]
    lanes = stack_size(name)
    with torch.inference_mode():
        bare = bare_step(sweep, lanes)
        left, right = torch.randn(2, 1024, 1024, dtype=getattr(torch, sweep.dtype))
        sides: dict[str, Callable[[], float]] = {
            "gemm": lambda: timed([lambda: left @ right]) / (2 * 1024**3),
            "products": lambda: timed(bare.products) / lanes,
            "bare": lambda: timed(bare.calls) / lanes,
            "ours": lambda: stepped(grid(case, case.ours), lanes),
        }
        for side in sides.values():
            side()
        found = dict.fromkeys(sides, 0.0)
        for _ in range(ROUNDS):
            for side, run in sides.items():
                found[side] += run() / ROUNDS
    return found


def timed(calls: list[Callable[[], object]]) -> float:
    """Seconds of all calls in a row, the mean over about SECONDS."""
    started, runs = time.perf_counter(), 0
    while (now := time.perf_counter()) - started < SECONDS:
        for call in calls:
            call()
        runs += 1
    return (now - started) / runs


def stepped(grid: dict, lanes: int) -> float:
    """Seconds per network of a step of a stack as trainers train it; its two measurements are left out."""
    grid["trial"]["training"]["steps"] = steps = 40
    grid["trial"]["measure"] = {"points": 2, "metrics": ["train_loss"]}
    settings = expand(grid | {"seeds": 1}).points[0].settings
    blocks = train(Stack(tuple(Lane(settings, seed) for seed in range(lanes))))
    return sum(block.training_seconds for block in blocks) / steps / lanes


def stack_size(name: str) -> int:
    """Networks of a stack of a sweep, on this machine."""
    case = CASES[name]
    settings = expand(grid(case, case.ours)).points[0].settings
    return lanes_per_stack(case.ours, os.cpu_count() or 1, settings)


def main() -> None:
    """Print a line per sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", choices=[*SWEEPS, []], help="default: all")
    chosen = parser.parse_args()
    cores = os.cpu_count() or 1
    print(machine())
    print(f"a step of one network; rates of one of {cores} processes, all busy\n")
    columns = f"{'networks':>8} {'kFLOP':>7} {'kB':>6}   {'large product':>13}  {'products':>8}  {'bare step':>9}"
    print(f"{'':15} {columns}  our step")
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        for name in chosen.sweeps or SWEEPS:
            sweep, lanes = CASES[name].sweeps[0], stack_size(name)
            bare = bare_step(sweep, lanes)
            operations = cost.step_flops(shape_of(sweep))
            sides = list(pool.map(seconds, [name] * cores))
            mean = {side: sum(one[side] for one in sides) / cores for side in sides[0]}
            limit = 1 / mean["gemm"]
            shares = [operations / mean[side] / limit for side in ("products", "bare", "ours")]
            counted = f"{lanes:8} {operations / 1e3:7.0f} {bare.bytes / lanes / 1e3:6.0f}"
            told = "  ".join(f"{share:{width}.0%}" for share, width in zip(shares, (8, 9, 8), strict=True))
            print(f"{name:15} {counted}   {limit / 1e9:6.1f} GFLOP/s  {told}", flush=True)


if __name__ == "__main__":
    main()
