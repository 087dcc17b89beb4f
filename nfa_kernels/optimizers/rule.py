"""What an update rule is: a pure pair of functions on stacked weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfa_kernels.networks import Params
from nfa_kernels.products import Factored

Hyperparameters = Mapping[str, Tensor]
"""Name -> (K, 1, 1), one number per network: learning_rate, weight_decay and what the rule reads.

In float64 whatever the weights are, so that what a rule makes of them, lr lambda or 1 - beta^t, is rounded once, last:
`1 - 0.999` in float32 is off by 5e-5, and 1 - lr lambda by as much as lr lambda itself.
Without weight_decay no network of the stack decays; that is the same, bit for bit, as a decay of 0, and costs less.
"""


class Numbers(dict[str, Tensor]):
    """Hyper-parameters that many steps share: what rules make of them is made once. Small stacks feel it."""

    def __init__(self, values: Hyperparameters) -> None:
        super().__init__(values)
        self.made: dict[tuple[str, torch.dtype], Tensor] = {}


class Rule(NamedTuple):
    """`init(weights)` makes the state; `step` answers new weights and state from old ones, gradients and numbers.

    A state is a (possibly empty) NamedTuple of tuples of tensors in the weights' shapes and of whole numbers.
    """

    init: Callable[[Params], Any]
    step: Callable[[Params, Params, Any, Hyperparameters], tuple[Params, Any]]
    step_factored: Callable[[Params, Sequence[Factored], Any, Hyperparameters], tuple[Params, Any]] | None = None
    """The same step from thin factors of lr g, where the rule need not see the gradients themselves; it is written over
    the weights."""


def number(hyperparameters: Hyperparameters, name: str, weights: Params) -> Tensor:
    """(K, 1, 1) one of the numbers in the weights' dtype."""
    dtype = weights[0].dtype
    return _once(hyperparameters, (name, dtype), lambda: hyperparameters[name].to(dtype))


def share(hyperparameters: Hyperparameters, name: str, weights: Params) -> Tensor:
    """(K, 1, 1) what a running mean takes of the new value, 1 - beta, in the weights' dtype."""
    dtype = weights[0].dtype
    return _once(hyperparameters, (f"1 - {name}", dtype), lambda: (1 - hyperparameters[name]).to(dtype))


def decay_share(hyperparameters: Hyperparameters, weights: Params) -> Tensor | None:
    """(K, 1, 1) what decoupled decay takes of the weights at a step, lr lambda, in their dtype; None without decay."""
    if "weight_decay" not in hyperparameters:
        return None
    rate, decay, dtype = hyperparameters["learning_rate"], hyperparameters["weight_decay"], weights[0].dtype
    return _once(hyperparameters, ("lr lambda", dtype), lambda: (rate * decay).to(dtype))


def decayed(weights: Params, gradients: Params, hyperparameters: Hyperparameters) -> Params:
    """Gradients of the coupled objective: g + lambda W."""
    if "weight_decay" not in hyperparameters:
        return gradients
    decay = number(hyperparameters, "weight_decay", weights)
    return tuple(g.addcmul(w, decay) for w, g in zip(weights, gradients, strict=True))


def shrunk(weights: Params, hyperparameters: Hyperparameters) -> Params:
    """Weights after decoupled decay: W - lr lambda W, subtracted, since 1 - lr lambda is rounded to eps."""
    taken = decay_share(hyperparameters, weights)
    if taken is None:
        return weights
    return tuple(weight.addcmul(weight, taken, value=-1) for weight in weights)


def _once(hyperparameters: Hyperparameters, key: tuple[str, torch.dtype], make: Callable[[], Tensor]) -> Tensor:
    """What `make` answers, made once where the numbers stay."""
    if not isinstance(hyperparameters, Numbers):
        return make()
    found = hyperparameters.made.get(key)
    if found is None:
        found = hyperparameters.made[key] = make()
    return found
