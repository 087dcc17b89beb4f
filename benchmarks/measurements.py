"""Default measurements by compiled code beside those of the tensor library alone, as without a compiler.

Processor time of one core, least of many by turns, a network; all default metrics at the first layer. Then that of a
stack of one network, which is mostly what a call costs, and how many steps of gradient descent, compiled, take as long
as one network of the stack (products of matrices alone). Constants of service/grid/cost.py follow from it.

    python benchmarks/measurements.py
"""

import os
from collections.abc import Callable
from functools import partial

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

import torch
from timing import best_seconds, machine
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.initialisations import initial_weights
from nfa_kernels.linear import moments
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.native import call
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.native.networks import compiled, steps_of
from nfa_kernels.networks import Architecture
from workers.allocation import keep_freed_memory

ASKED = Request(names.DEFAULT_METRICS, (1,))
STACKS = {
    "linear": ((32, 64, 64, 4), "linear", 256, 64),
    "linear, small": ((10, 16, 16, 4), "linear", 200, 512),
    "relu": ((32, 64, 64, 4), "relu", 256, 32),
    "relu, small": ((10, 16, 16, 4), "relu", 20, 64),
    "tanh": ((32, 64, 64, 4), "tanh", 256, 32),
    "wide": ((128, 512, 512, 512, 4), "relu", 256, 1),
}
"""Widths, activation, samples, and networks in a stack."""
STEPS = 64
ALONE = 10
"""Times in a row, as a trainer of small stacks measures them often."""


def seconds(name: str, dtype: torch.dtype) -> tuple[float, float, float, float | None]:
    """Of a network of a stack: a measurement compiled, one by the tensor library, of the first alone compiled, and a
    compiled step of a product."""
    widths, activation, samples, lanes = STACKS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(lanes, samples, widths[0], generator=generator, dtype=torch.float64)
    y = torch.randn(lanes, samples, widths[-1], generator=generator, dtype=torch.float64)
    each = [initial_weights("he", widths, seed) for seed in range(lanes)]
    weights = tuple(torch.stack(layer).to(dtype) for layer in zip(*each, strict=True))
    architecture = Architecture(widths, activation)
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half", dtype=dtype)

    first, of_first = tuple(one[:1] for one in weights), prepared.select(slice(1))

    @torch.inference_mode()
    def run(native: str) -> None:
        os.environ[SWITCH] = native
        measure(architecture, weights, prepared, ASKED, "half")

    @torch.inference_mode()
    def alone() -> None:
        os.environ[SWITCH] = "1"
        for _ in range(ALONE):
            measure(architecture, first, of_first, ASKED, "half")

    sides: dict[str, Callable[[], object]] = {native: partial(run, native) for native in ("1", "0")}
    sides["alone"] = alone
    if architecture.is_product:
        sides["step"] = partial(steps, architecture, weights, x.to(dtype), y.to(dtype))
    found = best_seconds(sides)
    step = found["step"] / STEPS / lanes if "step" in found else None
    return found["1"] / lanes, found["0"] / lanes, found["alone"] / ALONE, step


def steps(architecture: Architecture, weights: tuple[Tensor, ...], x: Tensor, y: Tensor) -> None:
    """Some compiled steps of gradient descent of every network."""
    os.environ[SWITCH] = "1"
    library, what = compiled(x.dtype), steps_of(architecture, "gd", "half", x.shape[1])
    assert library is not None and what is not None
    shape = (len(x), len(weights))
    rates, decays = (torch.full(shape, value, dtype=torch.float64) for value in (1e-4, 0.0))
    numbers = call.Numbers(rates, decays, rates.new_zeros(len(x), 3), rates.new_ones(STEPS))
    own = tuple(weight.clone() for weight in weights)
    call.run(library, architecture.widths, own, (), moments(x, y, "half"), what, numbers)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    keep_freed_memory()
    print(machine())
    if compiled(torch.float64, "metrics") is None:
        raise SystemExit("nothing is compiled here: `nfa doctor` says why")
    print(f"{'':46} {'compiled':>12} {'tensor library':>17} {'ratio':>6} {'alone':>11} {'in steps':>9}")
    for name, (widths, _, samples, _) in STACKS.items():
        for dtype in (torch.float64, torch.float32):
            ours, theirs, alone, step = seconds(name, dtype)
            told = f"{name} {'-'.join(map(str, widths))}, n = {samples}, {str(dtype).removeprefix('torch.')}"
            counted = "" if step is None else f" {ours / step:9.1f}"
            row = f"{told:46} {1e6 * ours:9.1f} us {1e6 * theirs:14.1f} us {theirs / ours:5.1f}x {1e6 * alone:8.1f} us"
            print(row + counted, flush=True)


if __name__ == "__main__":
    main()
