"""Losses over a set of samples: name -> (value, gradient with respect to the outputs).

half, sum and mse are c * mean_i |f(x_i) - y_i|^2 with c = 1/2, 1 and 1/C.
"""

from collections.abc import Callable
from typing import NamedTuple

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


LOSSES: dict[str, Loss] = {
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
