"""Stacks of networks that are graphs of layers, as training needs them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nfa_kernels.collapse import log_size
from nfa_kernels.graphs.state_dicts import by_own_names, third_of_array
from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.metrics import Measured
from nfa_kernels.networks import Params
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.measuring import are_tokens, measure_program, program_data
from workers.network_data import Arrays, MeasuredSet, Point, TrainingSet, refuse_others
from workers.program_data import ProgramData, program_owners
from workers.training_data import Data
from workers.updates import Owner, weight_decays


class OfGraph:
    """Networks of one graph of layers."""

    def __init__(self, program: GraphProgram) -> None:
        self.program = program

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Of the measured layers of the graph."""
        return tuple(one.name for one in self.program.graph.measured)

    def inputs(self, x: Tensor) -> Tensor:
        """As they are."""
        return x

    def initial(self, init: Mapping[str, Any], seed: int, given: Arrays) -> list[Tensor]:
        """Every parameter of the graph."""
        if init["scheme"] == "given":
            own = by_own_names(given, [one.name for one in self.program.parameters], third_of_array)
            return self.program.given(own, init["scale"])
        return self.program.initial(seed=seed, **init)

    def training_data(self, of: TrainingSet) -> Data:
        """What gradients are taken on."""
        return ProgramData(self.program, *of)

    def measured_data(self, of: MeasuredSet) -> MeasuredData:
        """Training and test data prepared for measuring."""
        return program_data(self.program, **of._asdict())

    def on_inputs(self, data: MeasuredData, x: Tensor) -> MeasuredData:
        """Measured data with other inputs, tokens among them."""
        vocabulary = self.program.graph.input.vocabulary
        if vocabulary and not are_tokens(x, vocabulary):
            raise ValueError(f"inputs: received other than whole numbers 0..{vocabulary - 1}")
        return data._replace(x=x.to(data.x.dtype))

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C)."""
        return self.program.forward(params, x)

    def measure(self, params: Params, point: Point) -> Measured:
        """Every metric asked for."""
        return measure_program(self.program, params, **point._asdict())

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
        refuse_others(named, [one.name for one in self.program.parameters])
        return tuple(named[one.name].reshape(-1, *one.matrix) for one in self.program.parameters)

    def owners(self, optimizer: str) -> list[Owner]:
        """Of every parameter."""
        return program_owners(self.program, optimizer)
