"""Nesterov momentum with coupled decay: m <- mu m + d, W - lr (d + mu m), d = g + lambda W.

Follows torch.optim.SGD(momentum, nesterov=True). Source: Sutskever et al. 2013, ICML.
"""

import torch

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.momentum import State, init
from nfa_kernels.optimizers.rule import Hyperparameters, decayed, number

__all__ = ["init", "step"]


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate, friction = (number(hyperparameters, name, weights) for name in ("learning_rate", "momentum"))
    descent = decayed(weights, gradients, hyperparameters)
    momentum = tuple(d.addcmul(m, friction) for m, d in zip(state.momentum, descent, strict=True))
    ahead = tuple(torch.addcmul(d, m, friction) for m, d in zip(momentum, descent, strict=True))
    return tuple(w.addcmul(a, rate, value=-1) for w, a in zip(weights, ahead, strict=True)), State(momentum)
