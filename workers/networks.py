"""What training a stack needs of its networks, whatever their kind: fully connected ones, and graphs of layers."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nfa_kernels.collapse import log_size
from nfa_kernels.graphs.graph import Input
from nfa_kernels.graphs.named import network_graph
from nfa_kernels.graphs.state_dicts import by_own_names, mlp_names, third_of_array
from nfa_kernels.initialisations import initial_biases, initial_weights
from nfa_kernels.linear import LOSS_FACTORS
from nfa_kernels.measured_data import MeasuredData, measured_data
from nfa_kernels.metrics import Measured, Request, measure
from nfa_kernels.networks import Architecture, Params, forward
from nfa_kernels.parameterizations import initial_factors
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.measuring import measure_program, program_data
from service.grid.data_shapes import known_shape
from workers.motion import Data
from workers.program_data import ProgramData, program_owners
from workers.updates import Owner, owners, weight_decays

Arrays = Mapping[str, Any]
"""Arrays of an upload by name; empty where a trial has none."""


class Network(Protocol):
    """The kind of network that a stack consists of. Parameters are stacked, each (K, rows, columns)."""

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

    def training_data(
        self, x: Tensor, y: Tensor, training: Mapping[str, Any], seeds: Sequence[int], dtype: torch.dtype
    ) -> Data:
        """What gradients are taken on; arguments as of `workers.motion.Data`."""
        ...

    def measured_data(
        self,
        sets: tuple[Tensor, Tensor, Tensor, Tensor],
        loss: str,
        loss_numbers: Mapping[str, Tensor],
        dtype: torch.dtype,
        *,
        kernels: bool = True,
    ) -> MeasuredData:
        """x, y, x_test and y_test prepared for measuring."""
        ...

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C)."""
        ...

    def measure(
        self,
        params: Params,
        data: MeasuredData,
        request: Request,
        loss: str,
        initial: Params | None,
        weight_decay: Tensor,
    ) -> Measured:
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


class FullyConnected:
    """Networks of one architecture."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def inputs(self, x: Tensor) -> Tensor:
        """Rows; of rows these are the same tensors."""
        return x.flatten(2)

    def initial(self, init: Mapping[str, Any], seed: int, given: Arrays) -> list[Tensor]:
        """Weights and, where the architecture has them, biases (d_l, 1)."""
        settings = dict(init)
        given = by_own_names(given, mlp_names(self.architecture.depth, len(given)), third_of_array)
        if given:
            settings["arrays"] = given
        widths, scheme = self.architecture.widths, settings.pop("scheme")
        factors = initial_factors(self.architecture.parameterization, scheme, widths)
        drawn = initial_weights(scheme, widths, seed, **settings)
        weights = [weight if factor == 1 else factor * weight for weight, factor in zip(drawn, factors, strict=True)]
        if self.architecture.bias:
            return [*weights, *initial_biases(widths, given)]
        unread = ", ".join(sorted(name for name in given if name.startswith("b")))
        if unread:
            raise ValueError(f"arrays: received {unread}, and the network has no biases: network.bias is false")
        return weights

    def training_data(
        self, x: Tensor, y: Tensor, training: Mapping[str, Any], seeds: Sequence[int], dtype: torch.dtype
    ) -> Data:
        """What gradients are taken on."""
        return Data(self.architecture, x, y, training, seeds, dtype)

    def measured_data(
        self,
        sets: tuple[Tensor, Tensor, Tensor, Tensor],
        loss: str,
        loss_numbers: Mapping[str, Tensor],
        dtype: torch.dtype,
        *,
        kernels: bool = True,
    ) -> MeasuredData:
        """x, y, x_test and y_test prepared for measuring."""
        return measured_data(self.architecture, *sets, loss, loss_numbers=loss_numbers, dtype=dtype, kernels=kernels)

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C)."""
        return forward(self.architecture, params, x)

    def measure(
        self,
        params: Params,
        data: MeasuredData,
        request: Request,
        loss: str,
        initial: Params | None,
        weight_decay: Tensor,
    ) -> Measured:
        """Every metric asked for."""
        return measure(self.architecture, params, data, request, loss, initial=initial, weight_decay=weight_decay)

    def weight_decays(self, of: Sequence[Owner], lanes: Sequence[Mapping[str, Any]], device: torch.device) -> Tensor:
        """(K, L) of W_1 .. W_L."""
        return torch.stack(weight_decays(of[: self.architecture.depth], lanes, device), 1)

    def log_size(self, params: Params) -> Tensor:
        """(K,) of the weights."""
        return log_size(self.architecture.weights(params))

    def is_compressed(self, loss: str) -> bool:
        """Of products of matrices on squared losses."""
        return self.architecture.is_product and loss in LOSS_FACTORS

    def named(self, params: Params) -> dict[str, Tensor]:
        """w1 .. wL, each (K, d_l, d_{l-1}), and b1 .. bL, each (K, d_l)."""
        weights, biases = self.architecture.weights(params), self.architecture.biases(params)
        named = {f"w{layer}": weight for layer, weight in enumerate(weights, 1)}
        return named | {f"b{layer}": bias.squeeze(-1) for layer, bias in enumerate(biases, 1)}

    def parameters(self, named: Mapping[str, Tensor]) -> Params:
        """Weights, then biases (K, d_l, 1) where the architecture has them."""
        depth = self.architecture.depth
        weights = [f"w{layer}" for layer in range(1, depth + 1)]
        biases = [f"b{layer}" for layer in range(1, depth + 1)] if self.architecture.bias else []
        _refuse_others(named, [*weights, *biases])
        return (*(named[name] for name in weights), *(named[name].unsqueeze(-1) for name in biases))

    def owners(self, optimizer: str) -> list[Owner]:
        """Of every parameter."""
        return owners(self.architecture, optimizer)


class OfGraph:
    """Networks of one graph of layers."""

    def __init__(self, program: GraphProgram) -> None:
        self.program = program

    def inputs(self, x: Tensor) -> Tensor:
        """As they are."""
        return x

    def initial(self, init: Mapping[str, Any], seed: int, given: Arrays) -> list[Tensor]:
        """Every parameter of the graph."""
        if init["scheme"] == "given":
            own = by_own_names(given, [one.name for one in self.program.parameters], third_of_array)
            return self.program.given(own, init["scale"])
        return self.program.initial(seed=seed, **init)

    def training_data(
        self, x: Tensor, y: Tensor, training: Mapping[str, Any], seeds: Sequence[int], dtype: torch.dtype
    ) -> Data:
        """What gradients are taken on."""
        return ProgramData(self.program, x, y, training, seeds, dtype)

    def measured_data(
        self,
        sets: tuple[Tensor, Tensor, Tensor, Tensor],
        loss: str,
        loss_numbers: Mapping[str, Tensor],
        dtype: torch.dtype,
        *,
        kernels: bool = True,
    ) -> MeasuredData:
        """x, y, x_test and y_test prepared for measuring."""
        return program_data(self.program, *sets, loss, loss_numbers=loss_numbers, dtype=dtype, kernels=kernels)

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C)."""
        return self.program.forward(params, x)

    def measure(
        self,
        params: Params,
        data: MeasuredData,
        request: Request,
        loss: str,
        initial: Params | None,
        weight_decay: Tensor,
    ) -> Measured:
        """Every metric asked for."""
        return measure_program(self.program, params, data, request, loss, initial=initial, weight_decay=weight_decay)

    def weight_decays(self, of: Sequence[Owner], lanes: Sequence[Mapping[str, Any]], device: torch.device) -> Tensor:
        """(K, L) of the measured layers."""
        decays = weight_decays(of, lanes, device)
        return torch.stack([decays[one.parameter] for one in self.program.measured], 1)

    def log_size(self, params: Params) -> Tensor:
        """(K,) of the measured matrices in a row; 0, which is no collapse, where one of them may be 0 and outputs not.

        A residual connection passes by a map that is zero, and a normalisation undoes that a map is small.
        """
        if self.program.graph.is_bent:
            return torch.zeros(len(params[0]), dtype=torch.float64, device=params[0].device)
        return log_size(tuple(self.program.weight(params, one.number) for one in self.program.measured))

    def is_compressed(self, loss: str) -> bool:
        """Never."""
        return False

    def named(self, params: Params) -> dict[str, Tensor]:
        """Every parameter by its layer's name, in torch's own shape."""
        return self.program.named(params)

    def parameters(self, named: Mapping[str, Tensor]) -> Params:
        """Every parameter as the matrix that the program reads."""
        _refuse_others(named, [one.name for one in self.program.parameters])
        return tuple(named[one.name].reshape(-1, *one.matrix) for one in self.program.parameters)

    def owners(self, optimizer: str) -> list[Owner]:
        """Of every parameter."""
        return program_owners(self.program, optimizer)


def _refuse_others(named: Mapping[str, Tensor], needed: Sequence[str]) -> None:
    """Refuse parameters that are not the network's."""
    if set(named) != set(needed):
        raise ValueError(f"weights: received {', '.join(named)}, needed are {', '.join(needed)}")
