"""Stacks of fully connected networks, as training needs them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nfa_kernels.collapse import log_size
from nfa_kernels.graphs.state_dicts import by_own_names, mlp_names, third_of_array
from nfa_kernels.initialisations import initial_biases, initial_weights
from nfa_kernels.linear import LOSS_FACTORS
from nfa_kernels.measured_data import MeasuredData, measured_data
from nfa_kernels.metrics import Measured, measure
from nfa_kernels.networks import Architecture, Params, forward, samples_last
from nfa_kernels.parameterizations import initial_factors
from workers.network_data import Arrays, MeasuredSet, Point, TrainingSet, refuse_others
from workers.training_data import Data
from workers.updates import Owner, owners, weight_decays


class FullyConnected:
    """Networks of one architecture."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    @property
    def layer_names(self) -> tuple[str, ...]:
        """None: layers have numbers."""
        return ()

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

    def training_data(self, of: TrainingSet) -> Data:
        """What gradients are taken on."""
        return Data(self.architecture, *of)

    def measured_data(self, of: MeasuredSet) -> MeasuredData:
        """Training and test data prepared for measuring."""
        return measured_data(self.architecture, **of._asdict())

    def on_inputs(self, data: MeasuredData, x: Tensor) -> MeasuredData:
        """Measured data with other inputs; the Jacobian of a product of matrices is the same at all of them."""
        if self.architecture.is_product:
            return data
        return data._replace(x=samples_last(self.inputs(x).to(torch.float64)).to(data.x.dtype))

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C)."""
        return forward(self.architecture, params, x)

    def measure(self, params: Params, point: Point) -> Measured:
        """Every metric asked for."""
        return measure(self.architecture, params, **point._asdict())

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
        refuse_others(named, [*weights, *biases])
        return (*(named[name] for name in weights), *(named[name].unsqueeze(-1) for name in biases))

    def owners(self, optimizer: str) -> list[Owner]:
        """Of every parameter."""
        return owners(self.architecture, optimizer)
