"""Adam with coupled decay and AdamW with decoupled decay. Follow torch.optim.Adam and torch.optim.AdamW.

Source: Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019, arXiv:1711.05101.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.rule import Hyperparameters, decayed, number, share, shrunk


class State(NamedTuple):
    """Running means of gradients and of their squares, zero at first, and the number of updates done."""

    mean: Params
    square: Params
    count: int


def init(weights: Params) -> State:
    """Zero means."""
    mean, square = (tuple(torch.zeros_like(weight) for weight in weights) for _ in range(2))
    return State(mean, square, 0)


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of Adam; shapes as given."""
    return _moved(weights, decayed(weights, gradients, hyperparameters), state, hyperparameters)


def step_decoupled(
    weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters
) -> tuple[Params, State]:
    """One update of AdamW: W <- (1 - lr lambda) W before Adam's step without decay."""
    return _moved(shrunk(weights, hyperparameters), gradients, state, hyperparameters)


def _moved(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """Adam's step along given descent gradients."""
    beta1, beta2, dtype = hyperparameters["beta1"], hyperparameters["beta2"], weights[0].dtype
    new1, new2 = (share(hyperparameters, name, weights) for name in ("beta1", "beta2"))
    count = state.count + 1
    mean = tuple(torch.lerp(m, g, new1) for m, g in zip(state.mean, gradients, strict=True))
    square = tuple(torch.lerp(v, g * g, new2) for v, g in zip(state.square, gradients, strict=True))
    rate = (hyperparameters["learning_rate"] / (1 - beta1**count)).to(dtype)
    root, epsilon = (1 - beta2**count).sqrt().to(dtype), number(hyperparameters, "epsilon", weights)

    def moved(weight: Tensor, m: Tensor, v: Tensor) -> Tensor:
        return weight.addcmul(m / (v.sqrt() / root + epsilon), rate, value=-1)

    return tuple(map(moved, weights, mean, square)), State(mean, square, count)
