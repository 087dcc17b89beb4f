"""Parameters of a graph's network before its first step: by fan-in and fan-out of each, or given by names.

Weights are drawn as an MLP's are: the l-th measured matrix (out, in) from the stream init/l, a kernel with fan-in
c k k and fan-out out k k. Tables of embeddings and positions draw from streams of their own, with their width as both
fans. Biases begin at 0, gains at 1. Schemes that weigh maps against their neighbours are those of an MLP where maps
form a chain; see `nfa_kernels.graphs.chains`.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

from nfa_kernels.graphs.chains import chain_widths, columns_per_channel, scheme_refusal
from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import Parameter
from nfa_kernels.initialisations.balanced import balanced
from nfa_kernels.initialisations.neuron_balanced import neuron_scaled
from nfa_kernels.random_streams import haar_columns, normal, stream

Draw = Callable[[Parameter, torch.Generator], Tensor]


def _gaussian(variance: Callable[[int, int], float]) -> Draw:
    return lambda one, generator: math.sqrt(variance(one.fan_in, one.fan_out)) * normal(one.matrix, generator)


def _uniform(bound: Callable[[int, int], float]) -> Draw:
    def drawn(one: Parameter, generator: torch.Generator) -> Tensor:
        unit = torch.rand(one.matrix, generator=generator, dtype=torch.float64)
        return bound(one.fan_in, one.fan_out) * (2 * unit - 1)

    return drawn


def _orthogonal(one: Parameter, generator: torch.Generator) -> Tensor:
    rows, columns = one.matrix
    frame = haar_columns(max(rows, columns), min(rows, columns), generator)
    return frame if rows >= columns else frame.mT


SCHEMES: dict[str, Draw] = {
    "he": _gaussian(lambda fan_in, _: 2 / fan_in),
    "xavier": _gaussian(lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    "xavier_uniform": _uniform(lambda fan_in, fan_out: (6 / (fan_in + fan_out)) ** 0.5),
    "lecun": _gaussian(lambda fan_in, _: 1 / fan_in),
    "normal": _gaussian(lambda _, __: 1.0),
    "uniform": _uniform(lambda fan_in, _: fan_in**-0.5),
    "orthogonal": _orthogonal,
}
"""Scheme -> one weight (rows, columns) of scale 1; sources as in `nfa_kernels.initialisations`."""


def initial(
    graph: Graph, scheme: str, seed: int, scale: float = 1.0, *, first: float = 1.0, last: float = 1.0
) -> list[Tensor]:
    """Parameters of one network, each (rows, columns), float64, on the CPU.

    Args:
        graph: whose parameters they are.
        scheme: of `SCHEMES`, or one that weighs neighbouring maps if the graph has it.
        seed: of the random streams.
        scale: multiplies weights and tables, neither biases nor gains.
        first: for layer_scales, multiplies the first measured matrix.
        last: for layer_scales, multiplies the last one.
    Raises:
        ValueError: an unknown scheme, or one that the graph has not.
    """
    if scheme not in (*SCHEMES, *_OF_NEIGHBOURS):
        allowed = ", ".join((*SCHEMES, *_OF_NEIGHBOURS))
        raise ValueError(f"scheme: received {scheme!r}, allowed are {allowed}")
    refusal = scheme_refusal(graph, scheme)
    if refusal is not None:
        raise ValueError(f"scheme: {refusal}")
    draw = SCHEMES[_OF_NEIGHBOURS.get(scheme, scheme)]
    found = [draw(one, stream(one.stream, seed)) if one.stream else _constant(one) for one in graph.parameters]
    maps = [one.parameter for one in graph.measured]
    if scheme == "balanced":
        for place, weight in zip(maps, balanced(chain_widths(graph) or (), seed), strict=True):
            found[place] = weight
    if scheme == "neuron_balanced":
        for (lower, upper), columns in zip(pairwise(maps), columns_per_channel(graph) or (), strict=True):
            found[upper] = neuron_scaled(found[lower], found[upper], columns)
    if scheme == "layer_scales":
        found[maps[0]], found[maps[-1]] = first * found[maps[0]], last * found[maps[-1]]
    return [scale * array if one.stream else array for one, array in zip(graph.parameters, found, strict=True)]


_OF_NEIGHBOURS = {"layer_scales": "xavier", "neuron_balanced": "lecun", "balanced": "lecun"}
"""Scheme that weighs neighbouring maps -> the scheme of what it begins with, and of tables."""


def _constant(one: Parameter) -> Tensor:
    return torch.full(one.matrix, 1.0 if one.role == "gain" else 0.0, dtype=torch.float64)


def given(parameters: tuple[Parameter, ...], arrays: Mapping[str, object], scale: float = 1.0) -> list[Tensor]:
    """Parameters of one network from arrays by name, each in its own shape; scale multiplies weights and tables.

    Raises:
        ValueError: arrays that are not the parameters.
    """
    known = {one.name for one in parameters}
    unread, missing = sorted(set(arrays) - known), sorted(known - set(arrays))
    if unread:
        raise ValueError(f"arrays: received {', '.join(unread)}, which no parameter of the network has as its name")
    if missing:
        raise ValueError(f"arrays: {', '.join(missing)} missing; needed is every parameter of the network")
    return [_array(one, arrays[one.name]) * (scale if one.stream else 1.0) for one in parameters]


def _array(one: Parameter, given: object) -> Tensor:
    found = torch.as_tensor(given, dtype=torch.float64)
    if tuple(found.shape) != one.shape:
        raise ValueError(f"{one.name}: received shape {tuple(found.shape)}, needed is {one.shape}")
    if not bool(found.isfinite().all()):
        raise ValueError(f"{one.name}: received numbers that are not finite, allowed are finite ones")
    return found.reshape(one.matrix)
