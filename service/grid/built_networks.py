"""What a network consists of once the data are known, and what it costs, whatever its kind. Pure."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from nfa_kernels import cost, names
from nfa_kernels.graphs import cost as graph_cost
from nfa_kernels.graphs import room
from nfa_kernels.graphs.chains import scheme_refusal
from nfa_kernels.graphs.compiled import is_compiled
from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.state_dicts import mlp_names
from service.grid.data_shapes import DataShape
from service.grid.networks import Layers, graph_of, layers_of_network


class Steps(NamedTuple):
    """How a network is trained, as far as its cost depends on it."""

    samples: int
    """Rows of one step: the batch size, or all of them."""
    full_batch: bool
    optimizer: str
    dtype: str
    wide_weights: bool = False
    """Weights and the rule's state are float64 although the passes are float32."""


Measuring = Literal["by_pass", "by_products", "library"]


class Built(Protocol):
    """A network of known sizes."""

    @property
    def layers(self) -> Layers:
        """What can be measured."""
        ...

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        ...

    @property
    def calls(self) -> int:
        """Layers, each of which a step calls into the tensor library for."""
        ...

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array that initial weights may be given by; those of biases too."""
        ...

    def in_order(self, count: int) -> list[str]:
        """Names in forward order, of a layer its weight before its bias, that so many arrays stand for."""
        ...

    def optional(self, name: str) -> bool:
        """Whether an array may be left out with all of its kind."""
        ...

    def layer_path(self, name: str) -> str:
        """Where the layer that has an array stands under `network.layers`; empty where layers are not listed."""
        ...

    def scheme_refusal(self, scheme: str) -> str | None:
        """Why it cannot begin with a scheme, and what it can; None if it can."""
        ...

    def step_flops(self, steps: Steps) -> int:
        """Operations of one training step."""
        ...

    def measurement_flops(self, steps: Steps, layers: Sequence[int], samples: int) -> int:
        """Operations of one measurement at these layers on so many samples."""
        ...

    def held_bytes(self, steps: Steps, samples: int) -> int:
        """Memory that each network of a stack holds while it trains, about; samples of all sets."""
        ...

    def pass_bytes(self, steps: Steps, samples: int, lanes: int | None = None) -> int:
        """Memory that so many networks, or any number of them, take together while they are passed through."""
        ...

    def is_compiled(self, network: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
        """Whether its steps are, by canonical settings of both sections, on a CPU where there is a compiler."""
        ...

    @property
    def measuring(self) -> Measuring:
        """What finds default metrics, where there is a compiler."""
        ...

    def device_memory(self, steps: Steps, samples: int) -> cost.DeviceMemory:
        """Memory of a stack on a device other than a CPU."""
        ...

    def taped(self, samples: int) -> cost.Taped:
        """What metrics that differentiate it twice depend on, on so many samples."""
        ...


def built(network: Mapping[str, Any], shape: DataShape) -> Built:
    """The network of canonical settings with data of these sizes.

    Raises:
        GraphError: layers that are no network or do not fit the data.
    """
    graph = graph_of(network, shape)
    if graph is not None:
        return OfGraph(graph, layers_of_network(network, graph))
    is_linear = network.get("activation", "linear") == "linear" and not network["bias"]
    return FullyConnected((shape.inputs, *network["width"], shape.outputs), network["bias"], is_linear)


@dataclass(frozen=True, slots=True)
class FullyConnected:
    """A fully connected network."""

    widths: tuple[int, ...]
    """(d_0, .., d_L)."""
    bias: bool
    is_linear: bool

    @property
    def layers(self) -> Layers:
        """Numbers alone."""
        return Layers(len(self.widths) - 1)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return cost.parameters(self.widths) + (sum(self.widths[1:]) if self.bias else 0)

    @property
    def calls(self) -> int:
        """The depth."""
        return len(self.widths) - 1

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """w1 .. wL, and b1 .. bL where there are biases."""
        weights = enumerate(itertools.pairwise(self.widths), start=1)
        found: dict[str, tuple[int, ...]] = {f"w{layer}": (fan_out, fan_in) for layer, (fan_in, fan_out) in weights}
        if self.bias:
            found |= {f"b{layer}": (width,) for layer, width in enumerate(self.widths[1:], start=1)}
        return found

    def in_order(self, count: int) -> list[str]:
        """w1, b1, w2, .."""
        return mlp_names(self.calls, count)

    def optional(self, name: str) -> bool:
        """Biases, which then begin at zero."""
        return name.startswith("b")

    def layer_path(self, name: str) -> str:
        """It lists none."""
        return ""

    def scheme_refusal(self, scheme: str) -> str | None:
        """It has every scheme that its depth allows."""
        is_short = scheme == "layer_scales" and self.calls == 1
        return "layer_scales needs a first and a last layer: give network.depth 2 or more" if is_short else None

    def _shape(self, steps: Steps) -> cost.Shape:
        return cost.Shape(
            widths=self.widths,
            samples=steps.samples,
            is_linear=self.is_linear,
            full_batch=steps.full_batch,
            optimizer=steps.optimizer,
            dtype=steps.dtype,
            wide_weights=steps.wide_weights,
        )

    def step_flops(self, steps: Steps) -> int:
        """Operations of one training step."""
        return cost.step_flops(self._shape(steps))

    def measurement_flops(self, steps: Steps, layers: Sequence[int], samples: int) -> int:
        """Operations of one measurement."""
        return cost.measurement_flops(self._shape(steps), len(layers), samples)

    def held_bytes(self, steps: Steps, samples: int) -> int:
        """Memory while it trains, with what its passes take: all networks are passed through together."""
        return cost.lane_bytes(self._shape(steps), samples)

    def pass_bytes(self, steps: Steps, samples: int, lanes: int | None = None) -> int:
        """Nothing beside what each of them holds."""
        return 0

    def is_compiled(self, network: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
        """Products of matrices, and small ones."""
        return names.is_compiled(network, training, max(self.widths))

    @property
    def measuring(self) -> Measuring:
        """A pass over the samples, or products of weights through outputs that are few and the thin side."""
        if self.is_linear:
            outputs = self.widths[-1]
            return "by_products" if outputs <= min(names.MEASURED_OUTPUTS, *self.widths) else "library"
        return "by_pass" if max(self.widths) <= names.MEASURED_WIDEST else "library"

    def device_memory(self, steps: Steps, samples: int) -> cost.DeviceMemory:
        """Of the whole step, and of a measurement in blocks."""
        return cost.device_memory(self._shape(steps), samples)

    def taped(self, samples: int) -> cost.Taped:
        """Of linear networks a few equivalent samples."""
        rows = min(samples, self.widths[0] + self.widths[-1]) if self.is_linear else samples
        numbers, flops = sum(self.widths), 6 * rows * cost.parameters(self.widths)
        return cost.Taped(self.parameters, rows, 2 * numbers, flops, self.widths[-1], numbers)


@dataclass(frozen=True, slots=True)
class OfGraph:
    """A network that is a graph of layers."""

    graph: Graph
    layers: Layers

    @property
    def parameters(self) -> int:
        """Of all layers."""
        return graph_cost.parameters(self.graph)

    @property
    def calls(self) -> int:
        """All layers, those inside of residual connections too."""
        return sum(1 for _ in self.graph.walk())

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Every parameter by its layer's name."""
        return {one.name: one.shape for one in self.graph.parameters}

    def in_order(self, count: int) -> list[str]:
        """As the graph has them."""
        return list(self.arrays())

    def optional(self, name: str) -> bool:
        """None."""
        return False

    def layer_path(self, name: str) -> str:
        """That of the node."""
        place = [one.name for one in self.graph.parameters].index(name)
        return next(node.path for node in self.graph.walk() if place in node.parameters)

    def scheme_refusal(self, scheme: str) -> str | None:
        """Where no theorem speaks of maps and their neighbours."""
        return scheme_refusal(self.graph, scheme)

    def step_flops(self, steps: Steps) -> int:
        """Operations of one training step."""
        return graph_cost.step_flops(self.graph, steps.samples, steps.optimizer)

    def measurement_flops(self, steps: Steps, layers: Sequence[int], samples: int) -> int:
        """Operations of one measurement."""
        return graph_cost.measurement_flops(self.graph, tuple(layers), samples)

    def held_bytes(self, steps: Steps, samples: int) -> int:
        """Memory from step to step."""
        return room.held_bytes(
            self.graph, steps.samples, samples, steps.optimizer, steps.dtype, wide_weights=steps.wide_weights
        )

    def pass_bytes(self, steps: Steps, samples: int, lanes: int | None = None) -> int:
        """Memory of a few networks' passes."""
        return room.pass_bytes(self.graph, steps.samples, samples, steps.dtype, lanes)

    def is_compiled(self, network: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
        """Where every layer is known."""
        return names.is_rule_compiled(training) and is_compiled(self.graph)

    @property
    def measuring(self) -> Measuring:
        """Mostly the tensor library's factorisations."""
        return "library"

    def device_memory(self, steps: Steps, samples: int) -> cost.DeviceMemory:
        """Of the whole step, and of a measurement in blocks."""
        held = self.held_bytes(steps, samples)
        return room.device_memory(self.graph, steps.samples, samples, steps.dtype, held)

    def taped(self, samples: int) -> cost.Taped:
        """As a step on all samples."""
        flops = graph_cost.step_flops(self.graph, samples, "gd")
        numbers = graph_cost.numbers_per_sample(self.graph)
        return cost.Taped(self.parameters, samples, numbers, flops, self.graph.outputs)
