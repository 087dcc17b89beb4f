"""What a measurement is asked for, what it finds, and what a view of a stack is made for."""

from typing import NamedTuple

from torch import Tensor

from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.networks import Params


class Request(NamedTuple):
    """What to measure: metric ids, layer numbers from 1, and further exponents for alignment@a."""

    metrics: tuple[str, ...]
    """Ids of `names.METRICS`, or members of a family such as agop_singular_value@1."""
    layers: tuple[int, ...]
    exponents: tuple[float, ...] = ()


class Measured(NamedTuple):
    """Values (K,) in float64: by network metric, by layer and layer metric, and (layer, name, values)."""

    network: dict[str, Tensor]
    layers: dict[int, dict[str, Tensor]]
    parametrised: list[tuple[int, str, Tensor]]

    def select(self, lanes: Tensor | slice) -> "Measured":
        """The same of some networks."""
        return Measured(
            {name: values[lanes] for name, values in self.network.items()},
            {layer: {name: values[lanes] for name, values in found.items()} for layer, found in self.layers.items()},
            [(layer, name, values[lanes]) for layer, name, values in self.parametrised],
        )


class Needs(NamedTuple):
    """What the asked metrics read beyond weights and outputs, so that one pass over the samples finds it all."""

    gradients: bool
    agop: bool
    preactivations: bool


class Asked(NamedTuple):
    """What a view of any kind of network is made for."""

    data: MeasuredData
    loss: str
    """Name of the training loss."""
    layers: tuple[int, ...]
    initial: Params | None
    """Parameters at step 0."""
    weight_decay: Tensor | None
    """(K,), or (K, L) of each layer."""
    needs: Needs
