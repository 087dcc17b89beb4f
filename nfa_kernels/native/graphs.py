"""Graphs of layers as the compiled steps see them: a list of nodes, and what each array of weights is."""

import ctypes
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import (
    Activated,
    Attention,
    Conv,
    Embedding,
    Flatten,
    Linear,
    Node,
    Norm,
    Pool,
    Positions,
    Readout,
    Residual,
    Shape,
)
from nfa_kernels.linear import LOSS_FACTORS
from nfa_kernels.native.call import LOSSES, RULES, Numbers, Samples, Steps, make
from nfa_kernels.networks import Params

_KINDS = (
    *("linear", "conv", "activation", "norm", "average", "max", "same", "flatten", "enter", "add", "attention"),
    *("embedding", "positions", "mean", "last"),
)
KINDS = {name: number for number, name in enumerate(_KINDS)}
"""Kinds of nodes, by the numbers that the source has for them."""
ACTIVATIONS = {
    name: number
    for number, name in enumerate(
        ("linear", "relu", "leaky_relu", "gelu", "tanh", "silu", "sigmoid", "quadratic"),
    )
}
_FORMS = {1: 0, 3: 1, 2: 2}
"""Axes of a sample -> vectors, images, tokens."""
_MOST_RESIDUALS = 12
"""One in the other."""
_LONGS = (
    *("kind", "needed", "before", "after", "inputs", "outputs", "high", "wide", "down", "across"),
    *("kernel", "stride", "first", "last", "how", "flag"),
)


class _Node(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in _LONGS),
        ("arrays", ctypes.c_int64 * 8),
        ("number", ctypes.c_double),
    )


class GraphCall(NamedTuple):
    """What calls say about the networks of a graph."""

    steps: Steps
    nodes: ctypes.Array[_Node]
    shapes: tuple[tuple[int, int], ...]
    """(rows, columns) of every parameter."""
    turned: tuple[bool, ...]
    """Whether it is held transposed: vectors, and places of tokens."""
    inputs: int
    """Numbers of a sample."""
    outputs: int
    positions: int
    """Tokens of a sample, or 0."""


def graph_call(
    graph: Graph, multipliers: Sequence[float], attention_power: float, optimizer: str, loss: str, samples: int
) -> GraphCall | None:
    """What a call says about training such networks; None where the code has no steps for them.

    Args:
        graph: of layers.
        multipliers: of every parameter.
        attention_power: scores are divided by this power of a head's width.
        optimizer: name of its rule.
        loss: name.
        samples: of one step.
    """
    is_known = optimizer in RULES and loss in LOSSES and all(map(_is_compiled, graph.walk()))
    if not is_known or _depth(graph.nodes) > _MOST_RESIDUALS:
        return None
    shape = (graph.input.shape[0], 1) if graph.input.vocabulary else graph.input.shape
    nodes = list(_flattened(graph.nodes, attention_power))
    needed = accumulate((any(place >= 0 for place in node.arrays) for node in nodes), initial=False)
    for node, is_needed in zip(nodes, needed, strict=False):
        node.needed = is_needed
    each = 2 * LOSS_FACTORS[loss](graph.outputs) if loss in LOSS_FACTORS else 1.0
    positions = shape[0] if len(shape) == 2 else 0
    size = 1
    for length in shape:
        size *= length
    return GraphCall(
        Steps(optimizer, loss, each / samples, tuple(multipliers)),
        (_Node * len(nodes))(*nodes),
        tuple(one.matrix for one in graph.parameters),
        tuple(one.role in ("bias", "gain", "position") for one in graph.parameters),
        *(size, graph.outputs, positions),
    )


def run_graph(
    library: ctypes.CDLL,
    said: GraphCall,
    weights: Params,
    states: Sequence[Params],
    data: Samples,
    numbers: Numbers,
) -> None:
    """Move every network by as many steps as there are paces, written over weights and states; see `call.make`.

    Args:
        library: compiled for the samples' dtype.
        said: about the graph.
        weights: every parameter (K, rows, columns), in the samples' dtype or in float64.
        states: running means of the rule.
        data: samples as rows (K, N, numbers of one).
        numbers: of every network.
    """
    shapes = (ctypes.c_int64 * (3 * len(said.shapes)))(
        *(
            number
            for shape, is_turned in zip(said.shapes, said.turned, strict=True)
            for number in (*shape, int(is_turned))
        )
    )
    fields: dict[str, int | float] = {
        **{"layers": len(said.shapes), "inputs": said.inputs, "outputs": said.outputs, "positions": said.positions},
        **{"nodes": ctypes.addressof(said.nodes), "node_count": len(said.nodes), "shapes": ctypes.addressof(shapes)},
        "wide": weights[0].dtype != data.x.dtype,
    }
    make(library.nfa_graph_steps, fields, said.shapes, weights, states, data, said.steps, numbers)


def _is_compiled(node: Node) -> bool:
    return not isinstance(node, Activated) or node.activation in ACTIVATIONS


def _depth(nodes: Sequence[Node]) -> int:
    """Residual connections one in the other."""
    return max((1 + _depth(node.layers) for node in nodes if isinstance(node, Residual)), default=0)


def _flattened(nodes: Sequence[Node], attention_power: float) -> Iterator[_Node]:
    for node in nodes:
        if not isinstance(node, Residual):
            yield _Node(**_sizes(node.inputs, node.outputs) | _fields(node, attention_power), arrays=_arrays(node))
            continue
        for kind, shape in (("enter", node.inputs), ("add", node.outputs)):
            yield _Node(kind=KINDS[kind], arrays=(ctypes.c_int64 * 8)(*[-1] * 8), **_sizes(shape, shape))
            if kind == "enter":
                yield from _flattened(node.layers, attention_power)


def _sizes(before: Shape, after: Shape) -> dict[str, int]:
    def features(shape: Shape) -> int:
        return shape[1] if len(shape) == 2 else shape[0]

    def sides(shape: Shape) -> tuple[int, int]:
        return (shape[1], shape[2]) if len(shape) == 3 else (1, 1)

    (high, wide), (down, across) = sides(before), sides(after)
    forms = {"before": _FORMS[len(before)], "after": _FORMS[len(after)]}
    features_of = {"inputs": features(before), "outputs": features(after)}
    return forms | features_of | {"high": high, "wide": wide, "down": down, "across": across}


def _arrays(node: Node) -> Any:
    """Places of its parameters as the source counts them: a bias behind its weight, whether there is one or not."""
    places: list[int] = []
    has_bias = getattr(node, "bias", False)
    for place in node.parameters:
        places.append(place)
        if isinstance(node, Linear | Conv | Attention) and not has_bias:
            places.append(-1)
    return (ctypes.c_int64 * 8)(*(places + [-1] * 8)[:8])


def _fields(node: Node, attention_power: float) -> dict[str, Any]:
    """What is particular to a kind."""
    kind, found = "linear", dict[str, Any]()
    match node:
        case Conv():
            kind = "conv"
            found = {"kernel": node.kernel, "stride": node.stride, "first": node.before, "last": node.after}
        case Activated():
            kind, found = "activation", {"how": ACTIVATIONS[node.activation], "number": node.slope}
        case Norm():
            kind, found = "norm", {"how": node.groups, "flag": node.kind == "rms", "number": node.epsilon}
        case Pool():
            kind, found = node.kind, {"kernel": node.size or 0}
        case Flatten():
            kind = "flatten" if len(node.inputs) == 2 else "same"
        case Attention():
            scale = (node.inputs[1] // node.heads) ** -attention_power
            kind, found = "attention", {"how": node.heads, "flag": node.causal, "number": scale}
        case Readout():
            kind = node.kind
        case Embedding():
            # numbers of tokens are one row
            kind, found = "embedding", {"before": _FORMS[2], "inputs": 1}
        case Positions():
            kind = "positions"
    return {"kind": KINDS[kind], **found}
