"""Updates of parameters that do not share their learning rate or decay: each group of them by its own step of a rule.

Every rule moves an array by what that array's gradients have been, so that groups change no number.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.rule import Hyperparameters, Rule


class Group(NamedTuple):
    """Places of the parameters of a network, and the numbers (K, 1, 1) that they share."""

    places: tuple[int, ...]
    hyperparameters: Hyperparameters


def grouped(rates: Sequence[Tensor], decays: Sequence[Tensor], shared: Hyperparameters) -> list[Group]:
    """Groups of the parameters that have the same rate and decay in every network of a stack.

    Args:
        rates: (K,) learning rates of each parameter, float64.
        decays: (K,) weight decays of each parameter, float64.
        shared: (K, 1, 1) numbers of all parameters.
    """
    found: dict[tuple[tuple[float, ...], tuple[float, ...]], list[int]] = {}
    for place, (rate, decay) in enumerate(zip(rates, decays, strict=True)):
        found.setdefault((tuple(rate.tolist()), tuple(decay.tolist())), []).append(place)
    groups = []
    for (_, decay), places in found.items():
        own = {"learning_rate": rates[places[0]].view(-1, 1, 1)}
        if any(decay):
            own["weight_decay"] = decays[places[0]].view(-1, 1, 1)
        groups.append(Group(tuple(places), {**shared, **own}))
    return groups


def init(rule: Rule, groups: Sequence[Group], weights: Params) -> tuple[Any, ...]:
    """The state of every group."""
    return tuple(rule.init(_of(group, weights)) for group in groups)


def step(
    rule: Rule, groups: Sequence[Group], weights: Params, gradients: Params, states: tuple[Any, ...]
) -> tuple[Params, tuple[Any, ...]]:
    """One update of every group; weights in their order."""
    if len(groups) == 1:
        moved_weights, state = rule.step(weights, gradients, states[0], groups[0].hyperparameters)
        return moved_weights, (state,)
    after, moved = list(weights), []
    for group, state in zip(groups, states, strict=True):
        some, state_after = rule.step(_of(group, weights), _of(group, gradients), state, group.hyperparameters)
        moved.append(state_after)
        for place, array in zip(group.places, some, strict=True):
            after[place] = array
    return tuple(after), tuple(moved)


def _of(group: Group, arrays: Params) -> Params:
    return tuple(arrays[place] for place in group.places)
