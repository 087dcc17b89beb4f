"""Losses over a set of samples: name -> (value, gradient with respect to the outputs).

half, sum and mse are c * mean_i |f(x_i) - y_i|^2 with c = 1/2, 1 and 1/C. cross_entropy is mean_i of -sum_c y_ic
log softmax(f(x_i))_c, its targets class probabilities. logistic is mean_i of sum_c log(1 + exp(-t_ic f(x_i)_c)), t = 1
for targets 1 and -1 for targets 0 or -1; a target p in between weighs the two. Outputs are logits in both.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Loss(NamedTuple):
    """Value (K,) and output gradient (K, N, C) of a loss, from outputs and targets (K, N, C)."""

    value: Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


def _squared(factor: Callable[[int], float]) -> Loss:
    def value(outputs: Tensor, targets: Tensor) -> Tensor:
        samples, width = outputs.shape[-2:]
        return (outputs - targets).square().sum((-2, -1)) * (factor(width) / samples)

    def gradient(outputs: Tensor, targets: Tensor) -> Tensor:
        samples, width = outputs.shape[-2:]
        return (outputs - targets) * (2 * factor(width) / samples)

    return Loss(value, gradient)


def _log_normaliser(outputs: Tensor) -> Tensor:
    """(K, N, 1) log sum_c exp(f_c)."""
    largest = outputs.amax(-1, keepdim=True)
    return largest + torch.exp(outputs - largest).sum(-1, keepdim=True).log()


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return (targets * (_log_normaliser(outputs) - outputs)).sum((-2, -1)) / outputs.shape[-2]


def _cross_entropy_gradient(outputs: Tensor, targets: Tensor) -> Tensor:
    softmax = torch.exp(outputs - _log_normaliser(outputs))
    return (softmax * targets.sum(-1, keepdim=True) - targets) / outputs.shape[-2]


def _logistic(outputs: Tensor, targets: Tensor) -> Tensor:
    softplus = outputs.clamp_min(0) + torch.log1p(torch.exp(-outputs.abs()))
    return (softplus - targets.clamp_min(0) * outputs).sum((-2, -1)) / outputs.shape[-2]


def _logistic_gradient(outputs: Tensor, targets: Tensor) -> Tensor:
    return (1 / (1 + torch.exp(-outputs)) - targets.clamp_min(0)) / outputs.shape[-2]


def check_targets(name: str, targets: Tensor) -> None:
    """Refuse targets (K, N, C) that a classification loss cannot read.

    Raises:
        ValueError: rows that are no probabilities for cross_entropy, or for logistic numbers outside 0..1 and -1.
    """
    if name == "cross_entropy":
        sums = targets.sum(-1)
        if targets.shape[-1] < 2 or bool((targets < 0).any()) or bool(((sums - 1).abs() > 1e-6).any()):
            raise ValueError(
                "targets: cross_entropy needs at least two outputs and class probabilities, >= 0 and summing to one in "
                "every row; one-hot rows are such"
            )
    elif name == "logistic" and not bool((((targets >= 0) & (targets <= 1)) | (targets == -1)).all()):
        raise ValueError("targets: logistic needs numbers in [0, 1], or -1 in place of 0")


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss(_cross_entropy, _cross_entropy_gradient),
    "logistic": Loss(_logistic, _logistic_gradient),
    "half": _squared(lambda width: 0.5),
    "sum": _squared(lambda width: 1.0),
    "mse": _squared(lambda width: 1 / width),
}


def loss_of(name: str) -> Loss:
    """The loss of this name.

    Raises:
        ValueError: unknown name.
    """
    if name not in LOSSES:
        raise ValueError(f"loss: received {name!r}, allowed are {', '.join(LOSSES)}")
    return LOSSES[name]
