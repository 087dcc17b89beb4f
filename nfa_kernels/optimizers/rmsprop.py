"""RMSprop with coupled decay: v <- rho v + (1 - rho) d^2, W - lr d / (sqrt(v) + eps), d = g + lambda W.

Follows torch.optim.RMSprop, not centred, without momentum. Source: Tieleman and Hinton 2012, lecture 6.5.
"""

from typing import NamedTuple

import torch

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.rule import Hyperparameters, decayed, number, share


class State(NamedTuple):
    """Running mean of squares, zero at first."""

    square: Params


def init(weights: Params) -> State:
    """Zero means."""
    return State(tuple(torch.zeros_like(weight) for weight in weights))


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate, epsilon = (number(hyperparameters, name, weights) for name in ("learning_rate", "epsilon"))
    new = share(hyperparameters, "rho", weights)
    descent = decayed(weights, gradients, hyperparameters)
    square = tuple(torch.lerp(v, d * d, new) for v, d in zip(state.square, descent, strict=True))
    after = (
        w.addcmul(d / (v.sqrt() + epsilon), rate, value=-1) for w, d, v in zip(weights, descent, square, strict=True)
    )
    return tuple(after), State(square)
