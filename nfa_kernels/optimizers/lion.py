"""Lion: u = sign(beta1 m + (1 - beta1) g), (1 - lr lambda) W - lr u, m <- beta2 m + (1 - beta2) g.

torch.optim has no such rule. Source: Chen et al. 2023, arXiv:2302.06675, program 1.
"""

import torch

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.momentum import State, init
from nfa_kernels.optimizers.rule import Hyperparameters, number, share, shrunk

__all__ = ["init", "step"]


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate = number(hyperparameters, "learning_rate", weights)
    new1, new2 = (share(hyperparameters, name, weights) for name in ("beta1", "beta2"))
    kept = shrunk(weights, hyperparameters)
    directions = (torch.lerp(m, g, new1).sign() for m, g in zip(state.momentum, gradients, strict=True))
    after = tuple(w.addcmul(u, rate, value=-1) for w, u in zip(kept, directions, strict=True))
    return after, State(tuple(torch.lerp(m, g, new2) for m, g in zip(state.momentum, gradients, strict=True)))
