"""Heavy-ball momentum with coupled decay: m <- mu m + (g + lambda W), W - lr m. Follows torch.optim.SGD(momentum)."""

from typing import NamedTuple

import torch

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.rule import Hyperparameters, decayed, number


class State(NamedTuple):
    """The running direction, zero at first: torch's first step, m = g, follows from it."""

    momentum: Params


def init(weights: Params) -> State:
    """A zero momentum per weight."""
    return State(tuple(torch.zeros_like(weight) for weight in weights))


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate, friction = (number(hyperparameters, name, weights) for name in ("learning_rate", "momentum"))
    descent = decayed(weights, gradients, hyperparameters)
    momentum = tuple(g.addcmul(m, friction) for m, g in zip(state.momentum, descent, strict=True))
    return tuple(w.addcmul(m, rate, value=-1) for w, m in zip(weights, momentum, strict=True)), State(momentum)
