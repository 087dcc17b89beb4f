"""What a theorist would write without this service: one network, torch, autograd, a measurement every few steps.

Knows nothing of this package, so that peers run in an environment of their own.
"""

import itertools
import time
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Sweep:
    """Sizes of a sweep; every trial has its own seed, learning rate and weight decay."""

    name: str
    widths: tuple[int, ...]
    samples: int
    steps: int
    every: int
    activation: str = "linear"
    dtype: str = "float64"
    batch_size: int | None = None
    learning_rate: float = 0.01
    measured_in: str = ""
    """dtype of the passes over samples that a measurement takes; empty: the training's. Behind them all is float64."""


def sweep_of(words: dict[str, Any]) -> Sweep:
    """A sweep out of plain values."""
    words["widths"] = tuple(words["widths"])
    return Sweep(**words)


def alignment(weights: list[torch.Tensor], x: torch.Tensor, phi) -> float:
    """Cosine of W_1^T W_1 and the AGOP's power 1/L."""

    def output(point: torch.Tensor) -> torch.Tensor:
        for weight in weights[:-1]:
            point = phi(point @ weight.T)
        return point @ weights[-1].T

    jacobians = torch.func.vmap(torch.func.jacrev(output))(x).double()
    agop = torch.einsum("nki,nkj->ij", jacobians, jacobians) / len(x)
    values, vectors = torch.linalg.eigh(agop)
    power = vectors * values.clamp_min(0) ** (1 / len(weights)) @ vectors.T
    gram = (weights[0].T @ weights[0]).double()
    return float((gram * power).sum() / gram.norm() / power.norm())


def train(sweep: Sweep, seed: int, report) -> None:
    """One trial; calls report(step, loss, alignment) at every measured step."""
    generator = torch.Generator().manual_seed(seed)
    dtype, widths = getattr(torch, sweep.dtype), sweep.widths
    measured_dtype = getattr(torch, sweep.measured_in or sweep.dtype)
    x = torch.randn(sweep.samples, widths[0], generator=generator, dtype=dtype)
    teacher = torch.randn(widths[-1], widths[0], generator=generator, dtype=dtype) / widths[0] ** 0.5
    y = x @ teacher.T + 0.1 * torch.randn(sweep.samples, widths[-1], generator=generator, dtype=dtype)
    weights = [
        torch.nn.Parameter(torch.randn(after, before, generator=generator, dtype=dtype) * (2 / before) ** 0.5)
        for before, after in itertools.pairwise(widths)
    ]
    phi = torch.relu if sweep.activation == "relu" else lambda z: z
    optimizer = torch.optim.SGD(weights, lr=sweep.learning_rate, weight_decay=0.01)
    for step in range(sweep.steps + 1):
        if step % sweep.every == 0:
            with torch.no_grad():
                hidden = x
                for weight in weights[:-1]:
                    hidden = phi(hidden @ weight.T)
                loss = 0.5 * (hidden @ weights[-1].T - y).square().sum(1).mean()
            measured = [weight.detach().to(measured_dtype) for weight in weights]
            report(step, float(loss), alignment(measured, x.to(measured_dtype), phi))
        if step == sweep.steps:
            break
        xs, ys = x, y
        if sweep.batch_size:
            rows = torch.randperm(sweep.samples, generator=generator)[: sweep.batch_size]
            xs, ys = x[rows], y[rows]
        optimizer.zero_grad()
        hidden = xs
        for weight in weights[:-1]:
            hidden = phi(hidden @ weight.T)
        (0.5 * (hidden @ weights[-1].T - ys).square().sum(1).mean()).backward()
        optimizer.step()


def timed(sweep: Sweep, seed: int) -> float:
    """Seconds of one trial on one thread, its rows kept in a list."""
    torch.set_num_threads(1)
    rows: list[tuple] = []
    started = time.perf_counter()
    train(sweep, seed, lambda *row: rows.append(row))
    return time.perf_counter() - started
