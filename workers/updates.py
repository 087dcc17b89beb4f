"""The steps of a stack's optimiser, with the learning rate and the decay that each parameter of each network has."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.networks import Architecture, Params
from nfa_kernels.optimizers import OPTIMIZERS
from nfa_kernels.optimizers.groups import Group, grouped, init, step
from nfa_kernels.optimizers.rule import Numbers, number
from nfa_kernels.parameterizations import layer_scalings
from nfa_kernels.products import Factored

Training = Mapping[str, Any]
States = tuple[Any, ...]
"""An update rule's state of every group."""


class Owner(NamedTuple):
    """What the learning rate and the decay of a parameter follow from."""

    layers: tuple[str, ...]
    """Number and names of its layer, any of which may stand under `training.layers`."""
    is_bias: bool
    """Or a gain: spared by `decay_biases: false`."""
    rate: float = 1.0
    """What the parameterisation multiplies its learning rate by."""


def owners(architecture: Architecture, optimizer: str) -> list[Owner]:
    """Of every parameter of a fully connected network."""
    steps = names.OPTIMIZERS[optimizer].steps
    scalings = layer_scalings(architecture.parameterization, architecture.widths, bias=architecture.bias, steps=steps)
    depth = architecture.depth
    return [Owner((str(place % depth + 1),), place >= depth, scaling.rate) for place, scaling in enumerate(scalings)]


class Updates:
    """An update rule and its state; parameters that share their numbers are moved together.

    Args:
        of: owner of every parameter.
        weights: initial parameters, in the dtype that they are moved in.
        lanes: canonical `training` settings of every network, of one optimiser.
    """

    def __init__(self, of: Sequence[Owner], weights: Params, lanes: Sequence[Training]) -> None:
        optimizer, device = lanes[0]["optimizer"], weights[0].device
        self._rule = OPTIMIZERS[optimizer]
        here = torch.device("cpu")  # where numbers are compared without waiting for a device
        shared = {
            name: numbers(lanes, name, here).view(-1, 1, 1) for name in names.OPTIMIZERS[optimizer].hyperparameters
        }
        rates, decays = learning_rates(of, lanes, here), weight_decays(of, lanes, here)
        self._groups = [
            Group(group.places, Numbers({name: value.to(device) for name, value in group.hyperparameters.items()}))
            for group in grouped(rates, decays, shared)
        ]
        self.state: States = init(self._rule, self._groups, weights)
        # lanes of one stack agree in it, so that a network is moved by the same operations whatever its stack
        self._has_one_rate = len(self._groups) == 1 and not any(map(names.has_own_rates, lanes))

    def paced(self, pace: float | Tensor) -> Sequence[Group]:
        """The groups with their learning rates times a factor, one number or (K, 1, 1); for the step that follows."""
        if isinstance(pace, float) and pace == 1:
            return self._groups
        return [_paced(group, pace) for group in self._groups]

    def thin_rate(self, groups: Sequence[Group], computed: Params) -> Tensor | None:
        """(K, 1, 1) the rate to scale thin factors of gradients with; None if the rule needs gradients themselves.

        Args:
            groups: as `paced` has them.
            computed: the weights in the dtype that gradients are computed in.
        """
        if self._rule.step_factored is None or not self._has_one_rate:
            return None
        return number(groups[0].hyperparameters, "learning_rate", computed)

    def step_factored(
        self, weights: Params, states: States, steps: Sequence[Factored], groups: Sequence[Group]
    ) -> tuple[Params, States]:
        """One update from thin factors of rate times gradient, written over the weights; see `thin_rate`."""
        assert self._rule.step_factored is not None
        after, moved = self._rule.step_factored(weights, steps, states[0], groups[0].hyperparameters)
        return after, (moved,)

    def step(
        self, weights: Params, states: States, gradients: Params, groups: Sequence[Group]
    ) -> tuple[Params, States]:
        """One update from gradients of the data loss, in the weights' shapes and dtype; groups as `paced` has them."""
        return step(self._rule, groups, weights, gradients, states)

    def of(self, name: str, place: int) -> Tensor:
        """(K,) one of the rule's numbers for the parameter at a place; zero where it does not have it."""
        numbers = next(group.hyperparameters for group in self._groups if place in group.places)
        return numbers[name].flatten() if name in numbers else torch.zeros_like(numbers["learning_rate"]).flatten()

    def running(self, parameters: int) -> tuple[list[Params], int]:
        """Arrays that the rule remembers, each of every parameter, and the steps that it has counted."""
        kinds = len([part for part in self.state[0] if isinstance(part, tuple)])
        found: list[dict[int, Tensor]] = [{} for _ in range(kinds)]
        for group, state in zip(self._groups, self.state, strict=True):
            arrays = [part for part in state if isinstance(part, tuple)]
            for kind, part in zip(found, arrays, strict=True):
                kind.update(zip(group.places, part, strict=True))
        done = [part for part in self.state[0] if isinstance(part, int)]
        return [tuple(kind[place] for place in range(parameters)) for kind in found], sum(done)

    def count(self, steps: int) -> None:
        """Count steps that were made elsewhere, written over what `running` answers."""
        self.state = tuple(
            type(state)(*(part + steps if isinstance(part, int) else part for part in state)) for state in self.state
        )

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places."""
        self.state = _selected(self.state, index)
        self._groups = [
            Group(group.places, Numbers({name: value[index] for name, value in group.hyperparameters.items()}))
            for group in self._groups
        ]


def numbers(lanes: Sequence[Training], name: str, device: torch.device) -> Tensor:
    """(K,) one setting of every network, float64."""
    return torch.tensor([training[name] for training in lanes], dtype=torch.float64, device=device)


def learning_rates(of: Sequence[Owner], lanes: Sequence[Training], device: torch.device) -> list[Tensor]:
    """(K,) learning rate of every parameter: its layer's own or the network's, times what its role asks for.

    Gradient flow has no learning rate; what is left is how fast time passes for each parameter.
    """
    return [
        torch.tensor(
            [_of_layer(one, owner.layers, "learning_rate", 1.0) * owner.rate for one in lanes],
            dtype=torch.float64,
            device=device,
        )
        for owner in of
    ]


def weight_decays(of: Sequence[Owner], lanes: Sequence[Training], device: torch.device) -> list[Tensor]:
    """(K,) decay of every parameter: its layer's own or the network's; none of biases where they are not to decay."""
    found = []
    for owner in of:
        own = [
            0.0
            if owner.is_bias and not one.get("decay_biases", True)
            else _of_layer(one, owner.layers, "weight_decay", 0.0)
            for one in lanes
        ]
        found.append(torch.tensor(own, dtype=torch.float64, device=device))
    return found


def _of_layer(training: Training, layers: Sequence[str], name: str, missing: float) -> float:
    """A number of the layer's own, by its number or a name, or else of the network."""
    given = training.get("layers", {})
    own = [given[layer][name] for layer in layers if name in given.get(layer, {})]
    return own[0] if own else training.get(name, missing)


def _paced(group: Group, pace: float | Tensor) -> Group:
    """A group with its learning rate times a factor."""
    rate = group.hyperparameters["learning_rate"]
    factor = pace.to(rate.device) if isinstance(pace, Tensor) else pace
    return Group(group.places, {**group.hyperparameters, "learning_rate": rate * factor})


def _selected(state: Any, index: Tensor) -> Any:
    """The networks `index` of an optimiser state: tensors are indexed, tuples entered, numbers kept."""
    if isinstance(state, Tensor):
        return state[index]
    if isinstance(state, tuple):
        parts = [_selected(part, index) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state
