"""What a device computes against what the CPU computes: the kernels, and whole trainings where these can be imported.

Needs nothing but torch; whole trainings need what trainers need, and say so where it is missing.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from nfa_kernels import flow, names
from nfa_kernels.batches import Batches
from nfa_kernels.initialisations import initial_weights
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture, Params, gradients
from nfa_kernels.optimizers import OPTIMIZERS

WIDTHS, LANES, SAMPLES = (10, 16, 12, 4), 5, 40
ACTIVATIONS = ("linear", "relu", "tanh", "gelu")
NUMBERS = {"learning_rate": 0.01, "weight_decay": 0.1, "momentum": 0.9, "beta1": 0.9, "beta2": 0.99, "rho": 0.99}


class Check(NamedTuple):
    """The largest difference of one kind of number, over the numbers' size, and what is allowed."""

    name: str
    difference: float
    allowed: float

    @property
    def is_right(self) -> bool:
        """False where it is no number."""
        return self.difference <= self.allowed


def checks(device: str) -> Iterator[Check]:
    """Every check, as it is done; the arithmetic of float32 before all that rests on it."""
    yield _whole_products(device)
    for activation in ACTIVATIONS:
        yield _metrics(activation, device)
    for rule in OPTIMIZERS:
        yield _steps(rule, device, torch.float64, 1e-9)
    yield _steps("adam", device, torch.float32, 1e-3)
    yield _flow(device)
    yield _alone(device)
    yield _resumed(device)


def differences(one: Tensor, other: Tensor) -> float:
    """|a - b| over the size of a, the largest of all numbers; infinite where one alone is no number."""
    one, other = one.cpu().double(), other.cpu().double()
    if not torch.equal(one.isnan(), other.isnan()):
        return float("inf")
    return float(((one - other).abs() / (1 + one.abs())).nan_to_num(0.0).max()) if one.numel() else 0.0


def _stack(activation: str, device: str, dtype: torch.dtype = torch.float64) -> tuple[Architecture, Params, Any, Any]:
    lanes = [initial_weights("he", WIDTHS, seed) for seed in range(LANES)]
    weights = tuple(torch.stack(layer).to(device, dtype) for layer in zip(*lanes, strict=True))
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(LANES, SAMPLES, d, generator=generator, dtype=torch.float64) for d in (WIDTHS[0], WIDTHS[-1]))
    return Architecture(WIDTHS, activation), weights, x.to(device, dtype), y.to(device, dtype)


def _worst(on: Callable[[str], list[Tensor]], device: str) -> float:
    return max(differences(*pair) for pair in zip(on("cpu"), on(device), strict=True))


def _whole_products(device: str) -> Check:
    """TF32 would round the factors of a float32 product to ten bits."""

    def on(where: str) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        left, right = torch.randn(2, 8, 64, 64, generator=generator)
        return [torch.bmm(left.to(where), right.to(where))]

    return Check("float32 products are whole, not TF32", _worst(on, device), 1e-5)


def _metrics(activation: str, device: str) -> Check:
    def on(where: str) -> list[Tensor]:
        architecture, weights, x, y = _stack(activation, where)
        data = measured_data(architecture, x, y, x[:, :7], y[:, :7], "half")
        decay = torch.full((LANES,), 0.1, dtype=torch.float64, device=where)
        initial = tuple(0.5 * weight for weight in weights)
        request = Request(tuple(names.METRICS), (1, 2, 3))
        found = measure(architecture, weights, data, request, "half", initial=initial, weight_decay=decay)
        return [*found.network.values(), *(value for layer in found.layers.values() for value in layer.values())]

    return Check(f"{len(names.METRICS)} metrics, {activation}", _worst(on, device), 1e-8)


def _numbers(where: str) -> Mapping[str, Tensor]:
    said = {**NUMBERS, "epsilon": 1e-6}
    return {name: torch.full((LANES, 1, 1), value, dtype=torch.float64, device=where) for name, value in said.items()}


def _steps(rule: str, device: str, dtype: torch.dtype, allowed: float) -> Check:
    def on(where: str) -> list[Tensor]:
        architecture, weights, x, y = _stack("relu", where, dtype)
        state, numbers = OPTIMIZERS[rule].init(weights), _numbers(where)
        for _ in range(10):
            found = gradients(architecture, weights, x, y, loss_of("half"))
            weights, state = OPTIMIZERS[rule].step(weights, found, state, numbers)
        return [*weights]

    return Check(f"10 steps of {rule}, {str(dtype).removeprefix('torch.')}", _worst(on, device), allowed)


def _flow(device: str) -> Check:
    def on(where: str) -> list[Tensor]:
        architecture, weights, x, y = _stack("linear", where)
        problem = flow.Problem(
            lambda params: gradients(architecture, params, x, y, loss_of("half")),
            tuple(tuple(weight.shape[1:]) for weight in weights),
            torch.full((LANES,), 0.1, dtype=torch.float64, device=where),
            rtol=1e-8,
        )
        now = flow.start(problem, weights)
        while not flow.arrived(now, 0.1):
            now = flow.step(problem, now, 0.1)
        return [now.arrays]

    return Check("gradient flow", _worst(on, device), 1e-7)


def _alone(device: str) -> Check:
    """Libraries of a device may choose another product for another stack: equal to rounding, not bit for bit."""
    architecture, weights, x, y = _stack("tanh", device)
    together = gradients(architecture, weights, x, y, loss_of("half"))
    alone = gradients(architecture, tuple(weight[2:3] for weight in weights), x[2:3], y[2:3], loss_of("half"))
    found = max(differences(one, whole[2:3]) for one, whole in zip(alone, together, strict=True))
    return Check("a network alone and in a stack", found, 1e-12)


def _resumed(device: str) -> Check:
    """Minibatches are drawn on the CPU and go on from a state wherever they are wanted."""
    first = Batches(range(LANES), SAMPLES, 7, "shuffle", torch.device(device))
    for _ in range(4):
        first.next()
    second = Batches(range(LANES), SAMPLES, 7, "shuffle", torch.device(device))
    second.restore(first.state())
    return Check("minibatches that go on", max(differences(first.next(), second.next()) for _ in range(8)), 0.0)


def trainings(device: str) -> Iterator[Check]:
    """Whole trainings by the service's own loop.

    Raises:
        ImportError: what trainers need beside torch is not installed.
    """
    from service.grid.canonical import canonical
    from service.grid.trial_settings import TrialSettings
    from workers.blocks import Lane, Stack
    from workers.training import train

    data = {"samples": 40, "inputs": 8, "outputs": 3, "spectrum": [2, 1, 0.5], "test_samples": 10}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "a product": ({"depth": 3, "width": 12}, {"weight_decay": 0.1}),
        "relu, adam, minibatches": (
            {"depth": 3, "width": 12, "activation": "relu", "bias": True},
            {"optimizer": "adam", "batch_size": 8},
        ),
        "tanh, momentum": ({"depth": 2, "width": 12, "activation": "tanh"}, {"optimizer": "momentum"}),
    }
    for name, (network, training) in cases.items():
        document = {
            **{"data": data, "network": network, "measure": {"points": 4, "layers": "all"}},
            "training": {"steps": 50, "learning_rate": 0.01, **training},
        }
        settings = canonical(TrialSettings.model_validate(document))
        stack = Stack(tuple(Lane(settings, seed) for seed in range(4)))

        def on(where: str, stack: Any = stack) -> list[Tensor]:
            blocks = list(train(stack, where))
            metrics = [[block.network.column("train_loss"), block.layers.column("alignment")] for block in blocks]
            return [torch.tensor(column.to_pylist(), dtype=torch.float64) for columns in metrics for column in columns]

        yield Check(f"training: {name}", _worst(on, device), 1e-7)
    if torch.device(device).type == "cuda":
        for rule in ("gd", "sgd", "momentum", "nesterov", "adam", "adamw"):
            for activation in ("linear", "relu"):
                yield captured(rule, activation, device)


def captured(rule: str, activation: str, device: str, steps: int = 400) -> Check:
    """Weights after steps by a captured graph against those after steps that are launched one by one.

    Args:
        rule: with decay, a schedule and, where it takes them, minibatches.
        activation: of the networks.
        device: of CUDA.
        steps: more than a stack makes before it is captured.
    Raises:
        ImportError: what trainers need beside torch is not installed.
    """
    from workers.captured import SWITCH
    from workers.motion import motion
    from workers.training_data import Data

    architecture, weights, x, y = _stack(activation, device)
    training: dict[str, Any] = {
        **{"optimizer": rule, "learning_rate": 0.01, "momentum": 0.9, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-6},
        **{"weight_decay": 0.1, "schedule": "cosine", "loss": "half", "dtype": "float64", "steps": steps},
        **({} if rule == "gd" else {"batch_size": 7, "batch_order": "shuffle"}),
    }

    def after(switch: str) -> tuple[list[Tensor], bool]:
        with patch.dict(os.environ, {SWITCH: switch}), torch.inference_mode():
            data = Data(architecture, x, y, training, range(LANES), torch.float64)
            own = tuple(weight.clone() for weight in weights)
            moving: Any = motion(own, data, {"training": training, "measure": {"steps": []}}, [training] * LANES)
            while moving.step < steps:
                moving.advance(0)
            return [*moving.weights], moving.is_captured

    (replayed, was), (launched, _) = after("1"), after("0")
    found = max(differences(*pair) for pair in zip(launched, replayed, strict=True))
    # where no graph could be had, or its numbers were others, a line above says so
    return Check(f"captured steps of {rule}, {activation}", found if was else float("inf"), 1e-9)
