"""Gradient descent with coupled decay: W - lr (g + lambda W); on minibatches it is SGD. Follows torch.optim.SGD."""

from typing import NamedTuple

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.rule import Hyperparameters, decayed


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
