"""What training a stack needs of its networks, whatever their kind."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nfa_kernels.graphs.graph import Input
from nfa_kernels.graphs.named import network_graph
from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.metrics import Measured
from nfa_kernels.networks import Architecture, Params
from nfa_kernels.programs.graph_program import GraphProgram
from service.grid.data_shapes import known_shape
from workers.fully_connected import FullyConnected
from workers.network_data import Arrays, MeasuredSet, Point, TrainingSet
from workers.of_graph import OfGraph
from workers.training_data import Data
from workers.updates import Owner


class Network(Protocol):
    """The kind of network that a stack consists of. Parameters are stacked, each (K, rows, columns)."""

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Of the measured layers, in the order of their numbers; none where they have numbers alone."""
        ...

    def inputs(self, x: Tensor) -> Tensor:
        """Inputs (K, N, ..) in the shape that the network reads."""
        ...

    def initial(self, init: Mapping[str, Any], seed: int, given: Arrays) -> list[Tensor]:
        """Parameters of one trial before its first step.

        Args:
            init: canonical settings of the initial weights, without the id of an upload.
            seed: of the trial.
            given: arrays of the upload that they name.
        """
        ...

    def training_data(self, of: TrainingSet) -> Data:
        """What gradients are taken on."""
        ...

    def measured_data(self, of: MeasuredSet) -> MeasuredData:
        """Training and test data prepared for measuring."""
        ...

    def on_inputs(self, data: MeasuredData, x: Tensor) -> MeasuredData:
        """Measured data with other inputs (K, N, ..), for metrics that read no targets.

        Raises:
            ValueError: inputs that the network cannot read.
        """
        ...

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C)."""
        ...

    def measure(self, params: Params, point: Point) -> Measured:
        """Every metric asked for."""
        ...

    def weight_decays(self, of: Sequence[Owner], lanes: Sequence[Mapping[str, Any]], device: torch.device) -> Tensor:
        """(K, L) the decay of every measured layer's weights, from the owners of all parameters."""
        ...

    def log_size(self, params: Params) -> Tensor:
        """(K,) what says whether networks have collapsed; see `nfa_kernels.collapse`."""
        ...

    def is_compressed(self, loss: str) -> bool:
        """Whether measured data are a few equivalent samples, on which looking for divergence costs nothing."""
        ...

    def named(self, params: Params) -> dict[str, Tensor]:
        """Every parameter (K, ..) by the name and in the shape in which it is kept and can be given."""
        ...

    def parameters(self, named: Mapping[str, Tensor]) -> Params:
        """What `named` took apart.

        Raises:
            ValueError: these are not the network's parameters.
        """
        ...

    def owners(self, optimizer: str) -> list[Owner]:
        """Of every parameter."""
        ...


def network_of(settings: Mapping[str, Any], form: Sequence[int], outputs: int) -> Network:
    """The networks of a stack.

    Args:
        settings: canonical, of any of its lanes.
        form: shape of one sample's input.
        outputs: C.
    Raises:
        ValueError: settings that the kernels refuse.
    """
    network, data = settings["network"], settings["data"]
    kind = network.get("kind", "mlp")
    if kind != "mlp":
        vocabulary = data.get("vocabulary") if data["kind"] == "uploaded" else known_shape(data).vocabulary
        graph = network_graph(network, Input(tuple(form), vocabulary or 0), outputs)
        return OfGraph(GraphProgram(graph, network.get("parameterization", "standard")))
    # a fully connected network reads an image as a row
    widths = (torch.Size(form).numel(), *network["width"], outputs)
    activation, slope = network.get("activation", "linear"), network.get("slope", 0.1)
    return FullyConnected(Architecture(widths, activation, slope, network["bias"], network["parameterization"]))
