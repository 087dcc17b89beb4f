"""Losses over a set of samples: name -> (value, gradient with respect to the outputs).

half, sum and mse are c * mean_i |f(x_i) - y_i|^2 with c = 1/2, 1 and 1/C. huber is mean_i of sum_c h(f(x_i)_c - y_ic),
h(r) = r^2/2 up to |r| = delta and delta (|r| - delta/2) beyond: `half` for small residuals. cross_entropy is mean_i of
-sum_c y_ic log softmax(f(x_i))_c, its targets class probabilities, smoothed ones (1 - e) y + e/C. logistic is mean_i of
sum_c log(1 + exp(-t_ic f(x_i)_c)), t = 1 for targets 1 and -1 for targets 0 or -1; a target p in between weighs the
two. Outputs are logits in both.

What a loss reads beside the targets, delta and e, may differ between the networks of a stack. `loss_targets` puts it
into the targets, once, so that it is wherever they are: in minibatches, in parts of a stack, in what is measured.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Loss(NamedTuple):
    """Value (K,) and output gradient (K, N, C), from outputs (K, N, C) and targets as `loss_targets` makes them."""

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


def _with_delta(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals (K, N, C) and delta (K, N, 1), which stands behind the targets."""
    if targets.shape[-1] != outputs.shape[-1] + 1:
        told = f"received {targets.shape[-1]} columns for {outputs.shape[-1]} outputs"
        raise ValueError(f"targets: {told}, huber reads one more, which loss_targets puts there")
    return outputs - targets[..., :-1], targets[..., -1:]


def _huber(outputs: Tensor, targets: Tensor) -> Tensor:
    residual, delta = _with_delta(outputs, targets)
    size = residual.abs()
    each = torch.where(size <= delta, 0.5 * residual.square(), delta * (size - 0.5 * delta))
    return each.sum((-2, -1)) / outputs.shape[-2]


def _huber_gradient(outputs: Tensor, targets: Tensor) -> Tensor:
    residual, delta = _with_delta(outputs, targets)
    return residual.clamp(-delta, delta) / outputs.shape[-2]


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


def loss_targets(name: str, targets: Tensor, numbers: Mapping[str, Tensor] | None = None) -> Tensor:
    """Targets (K, N, C) as the loss of this name reads them; most losses read them as they are.

    Args:
        name: of the loss.
        targets: (K, N, C), any number of samples.
        numbers: (K,) per name in `names.LOSS_NUMBERS`; huber_delta is needed, label_smoothing is 0 where it is missing.
    Returns:
        (K, N, C), for huber (K, N, C + 1) with delta in the last column.
    Raises:
        ValueError: huber without its delta.
    """
    numbers = numbers or {}
    if name == "huber":
        if "huber_delta" not in numbers:
            raise ValueError("huber_delta: received None, huber needs one number > 0 for each network")
        delta = numbers["huber_delta"].to(targets)[:, None, None]
        return torch.cat([targets, delta.expand(-1, targets.shape[1], 1)], -1)
    if name == "cross_entropy" and "label_smoothing" in numbers:
        share = numbers["label_smoothing"].to(targets)[:, None, None]
        return (1 - share) * targets + share / targets.shape[-1]
    return targets


LOSSES: dict[str, Loss] = {
    "huber": Loss(_huber, _huber_gradient),
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
