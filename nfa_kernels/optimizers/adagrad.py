"""Adagrad with coupled decay: s <- s + d^2, W - lr d / (sqrt(s) + eps), d = g + lambda W.

Follows torch.optim.Adagrad. Source: Duchi, Hazan, Singer 2011, JMLR 12.
"""

from typing import NamedTuple

import torch

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.rule import Hyperparameters, decayed, number


class State(NamedTuple):
    """Sum of squares, zero at first."""

    total: Params


def init(weights: Params) -> State:
    """Zero sums."""
    return State(tuple(torch.zeros_like(weight) for weight in weights))


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate, epsilon = (number(hyperparameters, name, weights) for name in ("learning_rate", "epsilon"))
    descent = decayed(weights, gradients, hyperparameters)
    total = tuple(s.addcmul(d, d) for s, d in zip(state.total, descent, strict=True))
    after = (
        w.addcmul(d / (s.sqrt() + epsilon), rate, value=-1) for w, d, s in zip(weights, descent, total, strict=True)
    )
    return tuple(after), State(total)
