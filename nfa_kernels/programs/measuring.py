"""Every metric of a stack of graphs at one step, under the same ids and definitions as a fully connected network's."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nfa_kernels.measured_data import MeasuredData, checked, prepared
from nfa_kernels.metrics import Measured, Request, measured, needs
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.program import Params
from nfa_kernels.programs.views import ProgramLayerView, ProgramView
from nfa_kernels.shared import of_each
from nfa_kernels.views import Asked


def program_data(
    program: GraphProgram,
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    loss: str,
    *,
    loss_numbers: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float64,
    kernels: bool = True,
) -> MeasuredData:
    """Prepare a stack's data for measuring; arguments as in `measured_data`, inputs (K, N, ..) of the graph's shape.

    Numbers of tokens are kept as they are, in the dtype of the passes.

    Raises:
        ValueError: a shape that does not fit, no samples, a number that is not finite or no token, an unknown loss, or
            targets that it cannot read.
    """
    graph = program.graph
    for suffix, some, targets, at_least in (("", x, y, 1), ("_test", x_test, y_test, 0)):
        checked(graph.input.shape, graph.outputs, some, targets, suffix, at_least)
        if graph.input.vocabulary and not are_tokens(some, graph.input.vocabulary):
            raise ValueError(f"x{suffix}: received other than whole numbers 0..{graph.input.vocabulary - 1}")
    data = prepared(x, y, x_test, y_test, loss, loss_numbers, kernels=kernels)
    passed = (data.x, data.x_test, data.classified_x)
    x, x_test, classified_x = (of_each(lambda one: one.to(dtype), part) for part in passed)
    return data._replace(x=x, x_test=x_test, classified_x=classified_x)


def are_tokens(x: Tensor, vocabulary: int) -> bool:
    """Whether inputs are whole numbers below a vocabulary's size."""
    return bool(((x >= 0) & (x < vocabulary) & (x == x.round())).all())


def measure_program(
    program: GraphProgram,
    params: Params,
    data: MeasuredData,
    request: Request,
    loss: str,
    *,
    initial: Params | None = None,
    weight_decay: Tensor | None = None,
) -> Measured:
    """Measure a whole stack at one step; see `metrics.measure`.

    Args:
        program: shared by the stack.
        params: parameters of the stack, any float dtype.
        data: from `program_data`, for the same lanes.
        request: metric ids, numbers of measured layers, and exponents.
        loss: name of the training loss.
        initial: parameters at step 0; only what `needs_initial` names reads them.
        weight_decay: (K,) the configured decay; only fact_alignment reads it.
    Raises:
        ValueError: an unknown metric, a layer that is not measured, parameters that do not fit, or an argument that is
            missing.
    """
    program.check(tuple(array.to(data.x.dtype) for array in params), data.x)
    asked = Asked(data, loss, request.layers, initial, weight_decay, needs(request))
    view = ProgramView(program, params, asked)
    for layer in request.layers:
        program.weight(params, layer)
    return measured(request, view, lambda layer: ProgramLayerView(view, layer))
