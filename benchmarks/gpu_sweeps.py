"""Steps and measurements of stacks on a device, at as many networks as fill it, and on all cores of this CPU.

Needs nothing but torch. On the CPU steps are those of a trainer, compiled where there is a compiler, if NumPy is there.
"""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from nfa_kernels import cost, names
from nfa_kernels.linear import factored_gradients, moments
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture, gradients, laid_out
from nfa_kernels.optimizers import OPTIMIZERS

RATE, MOST_LANES, GROWTH = 0.001, 4096, 1.1
"""Stacks of twice as many networks are tried while each takes less time by this factor; trainers have no larger."""


@dataclass(frozen=True)
class Case:
    """A sweep's shape."""

    widths: tuple[int, ...]
    samples: int
    activation: str
    dtype: str
    rule: str = "gd"

    @property
    def shape(self) -> cost.Shape:
        """What its cost depends on."""
        return cost.Shape(self.widths, self.samples, self.activation == "linear", True, self.rule, self.dtype)

    @property
    def step_bytes(self) -> int:
        """What a step of one network reads and writes at the least: weights, the rule's state, and data."""
        size, copies = (8 if self.dtype == "float64" else 4), 1 + names.OPTIMIZERS[self.rule].state_copies
        ends = self.widths[0] + self.widths[-1]
        data = self.widths[0] * ends if self.shape.is_linear else self.samples * ends
        return size * (2 * copies * cost.parameters(self.widths) + data)

    @property
    def lane_bytes(self) -> int:
        """Memory of one network, Jacobians of its measurement included, about."""
        jacobians = 0 if self.shape.is_linear else 8 * self.samples * self.widths[-1] * max(self.widths)
        return cost.lane_bytes(self.shape, self.samples) + 3 * jacobians


LINEAR, SMALL, WIDE = (32, 64, 64, 4), (10, 16, 16, 4), (128, 512, 512, 512, 4)
CASES: dict[str, Case] = {
    "linear-float32": Case(LINEAR, 256, "linear", "float32"),
    "linear-float64": Case(LINEAR, 256, "linear", "float64"),
    "small": Case(SMALL, 200, "linear", "float64"),
    "small-adam": Case(SMALL, 200, "linear", "float64", "adam"),
    "relu-float32": Case(LINEAR, 256, "relu", "float32"),
    "relu-float64": Case(LINEAR, 256, "relu", "float64"),
    "wide-float32": Case(WIDE, 256, "relu", "float32"),
}


class Found(NamedTuple):
    """What a case takes on a device at one number of networks."""

    lanes: int
    step_seconds: float
    """Of one network."""
    measuring_seconds: float
    """Of one network, default metrics of the first layer."""
    captured_seconds: float | None = None
    """A step of one network by a captured graph; None where there is none."""


class Runner:
    """A stack of a case on a device; its data are drawn there."""

    def __init__(self, case: Case, device: str, lanes: int) -> None:
        dtype = getattr(torch, case.dtype)
        torch.manual_seed(0)
        self.architecture, self.rule, self.device = Architecture(case.widths, case.activation), case.rule, device
        pairs = zip(case.widths, case.widths[1:], strict=False)
        self.weights = tuple(
            torch.randn(lanes, out, into, dtype=dtype, device=device).mul_(into**-0.5) for into, out in pairs
        )
        x, y = (
            torch.randn(lanes, case.samples, width, dtype=dtype, device=device)
            for width in (case.widths[0], case.widths[-1])
        )
        self.moments = moments(x, y, "half") if case.shape.is_linear else None
        self.x, self.y = laid_out(self.architecture, x), laid_out(self.architecture, y)
        self.numbers = {
            name: torch.full((lanes, 1, 1), value, dtype=torch.float64, device=device)
            for name, value in {"learning_rate": RATE, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8}.items()
        }
        self.state: Any = OPTIMIZERS[case.rule].init(self.weights)
        self.data = measured_data(self.architecture, *(x.double(), y.double()), x[:, :0], y[:, :0], "half", dtype=dtype)

    @torch.inference_mode()
    def step(self) -> None:
        """One step of every network, by the operations of a trainer."""
        rule, rate = OPTIMIZERS[self.rule], self.numbers["learning_rate"].to(self.weights[0].dtype)
        if self.moments is not None and rule.step_factored is not None:
            thin = factored_gradients(self.weights, self.moments, rate)
            self.weights, self.state = rule.step_factored(self.weights, thin, self.state, self.numbers)
            return
        found = gradients(self.architecture, self.weights, self.x, self.y, loss_of("half"))
        self.weights, self.state = rule.step(self.weights, found, self.state, self.numbers)

    @torch.inference_mode()
    def measure(self) -> Tensor:
        """All default metrics of the first layer, on the CPU."""
        found = measure(self.architecture, self.weights, self.data, Request(names.DEFAULT_METRICS, (1,)), "half")
        return torch.stack([*found.network.values(), *found.layers[1].values()]).cpu()


def synchronised(device: str) -> None:
    """Wait for all that was launched."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], object], device: str, seconds: float) -> float:
    """Of one call, the best of three rounds that take about so long together, after one that warms up."""
    run()
    synchronised(device)
    started = time.perf_counter()
    run()
    synchronised(device)
    calls = max(1, round(seconds / 3 / max(time.perf_counter() - started, 1e-6)))
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(calls):
            run()
        synchronised(device)
        best = min(best, (time.perf_counter() - started) / calls)
    return best


def filled(case: Case, device: str, memory_bytes: int, seconds: float, first: int = 64) -> Found:
    """A case at as many networks as fill the device: more would hardly be faster, or not fit in half of its memory."""
    lanes, step = first, float("inf")
    while True:
        runner = Runner(case, device, lanes)
        now = seconds_of(runner.step, device, seconds) / lanes
        is_last = 2 * lanes > MOST_LANES or 2 * lanes * case.lane_bytes > memory_bytes // 2 or now * GROWTH > step
        step = min(step, now)
        if is_last:
            measuring = seconds_of(runner.measure, device, seconds) / lanes
            return Found(lanes, now, measuring, captured_seconds(case, runner, lanes, seconds))
        lanes *= 2
        del runner


def captured_seconds(case: Case, runner: Runner, lanes: int, seconds: float) -> float | None:
    """Of a network's step by a captured graph; None on a CPU, where no graph can be had, or without trainers."""
    if torch.device(runner.device).type != "cuda":
        return None
    with patch.dict(os.environ, {"NFA_CUDA_GRAPHS": "1"}):
        steps = _trainers_steps(case, runner, lanes)
    if steps is None:
        return None
    run, count, moving = steps
    for _ in range(6):
        # until it is captured
        run()
    return seconds_of(run, runner.device, seconds) / (lanes * count) if moving.is_captured else None


def on_all_cores(case: Case, cores: int, seconds: float) -> Found:
    """A case on the CPU, every core busy with a stack of its own; seconds are of all cores together."""
    if cores == 1:
        return _on_one_core(case, seconds)
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_on_one_core, [case] * cores, [seconds] * cores))
    rates = [sum(1 / getattr(one, name) for one in found) for name in ("step_seconds", "measuring_seconds")]
    return Found(found[0].lanes, 1 / rates[0], 1 / rates[1])


def _on_one_core(case: Case, seconds: float) -> Found:
    torch.set_num_threads(1)
    size = 8 if case.dtype == "float64" else 4
    # as trainers on CPUs cut their stacks: weights that stay in the cache
    lanes = max(1, min(512, (2 << 20) // (size * cost.parameters(case.widths))))
    runner = Runner(case, "cpu", lanes)
    step, steps, _ = _trainers_steps(case, runner, lanes) or (runner.step, 1, None)
    taken = seconds_of(step, "cpu", seconds) / (lanes * steps)
    return Found(lanes, taken, seconds_of(runner.measure, "cpu", seconds) / lanes)


def _trainers_steps(case: Case, runner: Runner, lanes: int) -> tuple[Callable[[], object], int, Any] | None:
    """64 steps by a trainer's own loop, how many they are, and what moves; None where it cannot be imported."""
    try:
        from workers.motion import motion
        from workers.training_data import Data
    except ImportError:
        return None
    training: Mapping[str, Any] = {
        **{"optimizer": case.rule, "learning_rate": RATE, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8},
        **{"loss": "half", "schedule": "constant", "dtype": case.dtype, "weight_decay": 0.0, "steps": 10**9},
    }
    settings = {"training": training, "measure": {"steps": []}}
    data = Data(runner.architecture, runner.x, runner.y, training, range(lanes), getattr(torch, case.dtype))
    with torch.inference_mode():
        moving: Any = motion(tuple(weight.clone() for weight in runner.weights), data, settings, [training] * lanes)

    @torch.inference_mode()
    def run() -> None:
        until = moving.step + 64
        while moving.step < until:
            moving.advance(0)

    return run, 64, moving


def cores_here() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gemm_rate(device: str, dtype: torch.dtype, size: int, seconds: float) -> float:
    """Operations per second of a large product."""
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: left @ right, device, seconds)


def bandwidth(device: str, size_bytes: int, seconds: float) -> float:
    """Bytes per second that a large copy reads and writes."""
    array = torch.empty(size_bytes, dtype=torch.uint8, device=device)
    other = torch.empty_like(array)
    return 2 * size_bytes / seconds_of(lambda: other.copy_(array), device, seconds)
