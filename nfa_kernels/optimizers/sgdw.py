"""Momentum with decoupled decay: m <- mu m + g, (1 - lr lambda) W - lr m.

torch.optim has no such rule. Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 1, with the schedule
multiplier in the learning rate.
"""

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.momentum import State, init
from nfa_kernels.optimizers.rule import Hyperparameters, number, shrunk

__all__ = ["init", "step"]


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate, friction = (number(hyperparameters, name, weights) for name in ("learning_rate", "momentum"))
    momentum = tuple(g.addcmul(m, friction) for m, g in zip(state.momentum, gradients, strict=True))
    kept = shrunk(weights, hyperparameters)
    return tuple(w.addcmul(m, rate, value=-1) for w, m in zip(kept, momentum, strict=True)), State(momentum)
