"""Gradient descent with coupled decay: W - lr (g + lambda W); on minibatches it is SGD. Follows torch.optim.SGD."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.rule import Hyperparameters, decayed, shrunk
from nfa_kernels.products import Factored


class State(NamedTuple):
    """Gradient descent remembers nothing."""


def init(weights: Params) -> State:
    """The empty state."""
    return State()


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate = hyperparameters["learning_rate"]
    descent = decayed(weights, gradients, hyperparameters)
    return tuple(w.addcmul(g, rate, value=-1) for w, g in zip(weights, descent, strict=True)), state


def step_factored(
    weights: Params, gradients: Sequence[Factored], state: State, hyperparameters: Hyperparameters
) -> tuple[Params, State]:
    """The same from thin factors: no gradient is formed."""
    rate, is_ours = hyperparameters["learning_rate"], "weight_decay" in hyperparameters
    after = []
    for kept, (left, right) in zip(shrunk(weights, hyperparameters), gradients, strict=True):
        step = right * rate
        if left is None:
            after.append(kept - step)
        else:
            # what was shrunk is a copy already
            after.append(torch.baddbmm(kept, left, step, alpha=-1, out=kept if is_ours else None))
    return tuple(after), state
