"""What an update rule is: a pure pair of functions on stacked weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from nfa_kernels.networks import Params
from nfa_kernels.products import Factored

Hyperparameters = Mapping[str, Tensor]
"""Name -> (K, 1, 1), one number per network: learning_rate, weight_decay and what the rule reads.

Without weight_decay no network of the stack decays; that is the same, bit for bit, as a decay of 0, and costs less.
"""


class Rule(NamedTuple):
    """`init(weights)` makes the state; `step` answers new weights and state from old ones, gradients and numbers.

    A state is a (possibly empty) NamedTuple of tuples of tensors in the weights' shapes and of whole numbers.
    """

    init: Callable[[Params], Any]
    step: Callable[[Params, Params, Any, Hyperparameters], tuple[Params, Any]]
    step_factored: Callable[[Params, Sequence[Factored], Any, Hyperparameters], tuple[Params, Any]] | None = None
    """The same step from thin factors of lr g, where the rule need not see the gradients themselves; it is written over
    the weights."""


def decayed(weights: Params, gradients: Params, hyperparameters: Hyperparameters) -> Params:
    """Gradients of the coupled objective: g + lambda W."""
    decay = hyperparameters.get("weight_decay")
    if decay is None:
        return gradients
    return tuple(g.addcmul(w, decay) for w, g in zip(weights, gradients, strict=True))


def shrunk(weights: Params, hyperparameters: Hyperparameters) -> Params:
    """Weights after decoupled decay: (1 - lr lambda) W."""
    decay = hyperparameters.get("weight_decay")
    if decay is None:
        return weights
    keep = 1 - hyperparameters["learning_rate"] * decay
    return tuple(weight * keep for weight in weights)
