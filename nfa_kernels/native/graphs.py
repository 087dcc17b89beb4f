"""Networks as the compiled steps of graphs see them: a list of nodes, and what each array of weights is."""

import ctypes
import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from nfa_kernels.graphs.compiled import is_compiled
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
from nfa_kernels.names import COMPILED_WIDEST
from nfa_kernels.native.call import LOSSES, RULES, Looks, Numbers, Samples, Steps, make, of_sample
from nfa_kernels.networks import Architecture, Params

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
_LONGS = (
    *("kind", "needed", "before", "after", "inputs", "outputs", "high", "wide", "down", "across"),
    *("kernel", "stride", "first", "last", "how", "flag"),
)


class _Node(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in _LONGS),
        ("arrays", ctypes.c_int64 * 8),
        ("taps", ctypes.c_int64 * 4),
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

    @property
    def table(self) -> "ctypes.Array[ctypes.c_int64]":
        """(rows, columns, whether it is held transposed) of every parameter, as the source reads them."""
        rows = ((*shape, int(turned)) for shape, turned in zip(self.shapes, self.turned, strict=True))
        return (ctypes.c_int64 * (3 * len(self.shapes)))(*(number for row in rows for number in row))

    @property
    def fields(self) -> dict[str, int | float]:
        """Numbers of a call."""
        return {
            **{"layers": len(self.shapes), "inputs": self.inputs, "outputs": self.outputs, "positions": self.positions},
            **{"nodes": ctypes.addressof(self.nodes), "node_count": len(self.nodes)},
        }


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
    if optimizer not in RULES or loss not in LOSSES or not is_compiled(graph):
        return None
    nodes = list(_flattened(graph.nodes, attention_power))
    needed = accumulate((any(place >= 0 for place in node.arrays) for node in nodes), initial=False)
    for node, is_needed in zip(nodes, needed, strict=False):
        node.needed = is_needed
    steps = Steps(optimizer, loss, of_sample(loss, graph.outputs, samples), tuple(multipliers))
    return _said(graph, steps, nodes)


def layers_call(architecture: Architecture, optimizer: str, loss: str, samples: int, dtype: str) -> GraphCall | None:
    """The same of fully connected networks; None also of products of matrices, and of wide ones.

    Beyond COMPILED_WIDEST, by dtype of the weights, the tensor library's products are faster. Other arguments as in
    `graph_call`.
    """
    widths, depth, phi = architecture.widths, architecture.depth, architecture.activation
    is_known = optimizer in RULES and loss in LOSSES and phi in ACTIVATIONS
    if not is_known or architecture.is_product or max(widths) > COMPILED_WIDEST.get(dtype, 0):
        return None
    nodes = list[_Node]()
    for layer, (before, after) in enumerate(pairwise(widths)):
        if layer and not architecture.is_linear:
            how = {"how": ACTIVATIONS[phi], "number": architecture.slope}
            node = _sizes((before,), (before,)) | {"kind": KINDS["activation"]} | how
            nodes.append(_Node(**node, needed=True, arrays=_nowhere(8), taps=_nowhere(4)))
        places = (ctypes.c_int64 * 8)(*[layer, depth + layer if architecture.bias else -1, *[-1] * 6])
        sizes = _sizes((before,), (after,))
        nodes.append(_Node(kind=KINDS["linear"], **sizes, needed=layer > 0, arrays=places, taps=_nowhere(4)))
    biases = [(after, 1) for after in widths[1:] if architecture.bias]
    multipliers = (*architecture.multipliers, *[1.0] * len(biases))
    return GraphCall(
        Steps(optimizer, loss, of_sample(loss, widths[-1], samples), multipliers),
        (_Node * len(nodes))(*nodes),
        (*((after, before) for before, after in pairwise(widths)), *biases),
        (*[False] * depth, *[True] * len(biases)),
        *(widths[0], widths[-1], 0),
    )


def tap_call(graph: Graph, attention_power: float, layers: Sequence[int]) -> GraphCall:
    """What a call says about finding derivatives for what measured layers give, by their places in `layers`."""
    nodes, needed = list(_flattened(graph.nodes, attention_power)), False
    flat = (node for node in graph.walk() if not isinstance(node, Residual))
    for node in nodes:
        node.needed = needed
        if node.kind in (KINDS["enter"], KINDS["add"]):
            continue
        for place, number in enumerate(next(flat).measured):
            if number in layers:
                node.taps[place], needed = layers.index(number), True
    return _said(graph, Steps("gd", "half", 1.0, (1.0,) * len(graph.parameters)), nodes)


def _said(graph: Graph, steps: Steps, nodes: Sequence[_Node]) -> GraphCall:
    shape = (graph.input.shape[0], 1) if graph.input.vocabulary else graph.input.shape
    return GraphCall(
        steps,
        (_Node * len(nodes))(*nodes),
        tuple(one.matrix for one in graph.parameters),
        tuple(one.role in ("bias", "gain", "position") for one in graph.parameters),
        *(math.prod(shape), graph.outputs, shape[0] if len(shape) == 2 else 0),
    )


def run_graph(
    library: ctypes.CDLL,
    said: GraphCall,
    weights: Params,
    states: Sequence[Params],
    data: Samples,
    numbers: Numbers,
    looks: Looks | None = None,
) -> None:
    """Move every network by as many steps as there are paces, written over weights and states; see `call.make`.

    Args:
        library: compiled for the samples' dtype.
        said: about the graph.
        weights: every parameter (K, rows, columns), in the samples' dtype or in float64.
        states: running means of the rule.
        data: samples as rows (K, N, numbers of one).
        numbers: of every network.
        looks: at weights on the way.
    """
    table = said.table
    fields = said.fields | {"shapes": ctypes.addressof(table), "wide": weights[0].dtype != data.x.dtype}
    make(library.nfa_graph_steps, fields, said.shapes, weights, states, data, said.steps, numbers, looks)


def _flattened(nodes: Sequence[Node], attention_power: float) -> Iterator[_Node]:
    for node in nodes:
        if not isinstance(node, Residual):
            sizes = _sizes(node.inputs, node.outputs) | _fields(node, attention_power)
            yield _Node(**sizes, arrays=_arrays(node), taps=_nowhere(4))
            continue
        for kind, shape in (("enter", node.inputs), ("add", node.outputs)):
            yield _Node(kind=KINDS[kind], arrays=_nowhere(8), taps=_nowhere(4), **_sizes(shape, shape))
            if kind == "enter":
                yield from _flattened(node.layers, attention_power)


def _nowhere(places: int) -> Any:
    return (ctypes.c_int64 * places)(*[-1] * places)


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
