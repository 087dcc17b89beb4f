"""The training data of networks that are graphs: whole samples of any shape, in minibatches or all at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.batches import Batches
from nfa_kernels.graphs import cost
from nfa_kernels.losses import loss_of
from nfa_kernels.native.graphs import graph_call
from nfa_kernels.networks import Params
from nfa_kernels.parameterizations import attention_power
from nfa_kernels.products import Factored
from nfa_kernels.programs.graph_program import GraphProgram
from workers.compiled import CompiledSteps, compiled_graph_steps
from workers.training_data import Data, first_rows
from workers.updates import Owner, Updates


class ProgramData(Data):
    """Inputs lie as rows, so that minibatches are picked as those of a fully connected network are."""

    def __init__(
        self,
        program: GraphProgram,
        x: Tensor,
        y: Tensor,
        training: Mapping[str, Any],
        seeds: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        self._program, self._loss, self._form = program, loss_of(training["loss"]), x.shape[2:]
        self._x, self._y, self._moments = x.flatten(2).to(dtype).contiguous(), y.to(dtype).contiguous(), None
        self.parameterization, self.owners = program.parameterization, program_owners(program, training["optimizer"])
        is_batched = "batch_size" in training
        self._batches = (
            Batches(seeds, x.shape[1], training["batch_size"], training["batch_order"], x.device)
            if is_batched
            else None
        )
        self._first_rows = first_rows(self._x)
        samples = training.get("batch_size") or x.shape[1]
        self._flops = cost.step_flops(program.graph, samples, training["optimizer"])
        self._said = graph_call(
            *(program.graph, program.multipliers, attention_power(program.parameterization)),
            *(training["optimizer"], training["loss"], samples),
        )

    def compiled(self, updates: Updates, weights: Params) -> CompiledSteps | None:
        """Compiled steps of the stack, where there are such for all of its layers."""
        return compiled_graph_steps(self._said, updates, weights, self._flops, self.dtype)

    def factored(self, params: Params, scale: Tensor, rows: Tensor | None = None) -> list[Factored] | None:
        """Never: gradients of a graph are not kept as thin factors."""
        return None

    def gradients(self, params: Params, rows: Tensor | None = None) -> Params:
        """Of a minibatch, of rows (K, size) or the next ones, or of the whole set."""
        x, y = self._x, self._y
        if self._batches is not None:
            x, y = self._picked(self._batches.next() if rows is None else rows)
        return self._program.gradients(params, x.unflatten(2, self._form), y, self._loss)


def program_owners(program: GraphProgram, optimizer: str) -> list[Owner]:
    """Of every parameter: its layer's number, if it is measured, and name; an attention's maps have the whole's too."""
    numbers = {one.name: str(one.number) for one in program.measured}
    found = []
    scalings = program.scalings(names.OPTIMIZERS[optimizer].steps)
    for parameter, scaling in zip(program.parameters, scalings, strict=True):
        name = parameter.name.rpartition(".")[0]
        layers = (
            *((numbers[name],) if name in numbers else ()),
            name,
            *([name.partition(".")[0]] if "." in name else []),
        )
        found.append(Owner(layers, parameter.role in ("bias", "gain"), scaling.rate))
    return found
