"""Gradient descent with coupled decay: W - lr lambda W - lr g; on minibatches it is SGD. Follows torch.optim.SGD."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.rule import Hyperparameters, decay_share, number, shrunk
from nfa_kernels.products import Factored


class State(NamedTuple):
    """Gradient descent remembers nothing."""


def init(weights: Params) -> State:
    """The empty state."""
    return State()


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate = number(hyperparameters, "learning_rate", weights)
    kept = shrunk(weights, hyperparameters)
    ours = kept if _is_copy(hyperparameters) else [None] * len(kept)
    after = (torch.addcmul(w, g, rate, value=-1, out=own) for w, g, own in zip(kept, gradients, ours, strict=True))
    return tuple(after), state


def step_factored(
    weights: Params, steps: Sequence[Factored], state: State, hyperparameters: Hyperparameters
) -> tuple[Params, State]:
    """The same from thin factors of lr g, written over the weights: no gradient is formed, unless weights are wider."""
    taken = decay_share(hyperparameters, weights)
    for weight, (left, right) in zip(weights, steps, strict=True):
        if taken is not None:
            weight.addcmul_(weight, taken, value=-1)
        if left is None:
            weight.sub_(right)
        elif left.dtype != weight.dtype:
            weight.sub_(torch.bmm(left, right))
        else:
            weight.baddbmm_(left, right, alpha=-1)
    return weights, state


def _is_copy(hyperparameters: Hyperparameters) -> bool:
    """Whether shrunk weights may be written to; without decay they are the caller's."""
    return "weight_decay" in hyperparameters
