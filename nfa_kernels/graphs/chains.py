"""Which schemes that weigh neighbouring maps against each other have a meaning in a graph: where maps form a chain.

`balanced` makes W_{l+1}^T W_{l+1} = W_l W_l^T, which needs that every map reads the one before through nothing or an
activation, at the same positions. `neuron_balanced` makes what goes into a neuron or channel as large as what leaves
it, also for a kernel, over its pixels, and behind a pool: Du, Hu, Lee 2018, arXiv:1806.00900, for shared weights too.
`layer_scales` needs a first and a last map.
"""

from collections.abc import Callable

from nfa_kernels import names
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
)

_CHANNELWISE = (Linear, Conv, Activated, Pool, Flatten)


def chain_widths(graph: Graph) -> tuple[int, ...] | None:
    """(d_0, .., d_L) where every measured map is read by the next alone, position by position; else None."""
    if not graph.has_imbalance:
        return None
    return (graph.measured[0].inputs, *(one.outputs for one in graph.measured))


def columns_per_channel(graph: Graph) -> tuple[int, ...] | None:
    """Of every measured map but the first: how many of its columns read one channel of the map before, side by side.

    None where what leaves a map's channel is read by other than the next map, or together with other channels.
    """
    nodes, behind = [*graph.walk()], False
    for node in nodes:
        behind = behind or bool(node.measured)
        plain = isinstance(node, _CHANNELWISE) or (isinstance(node, Readout) and node.kind != "flatten")
        # a sequence is flattened token by token, so that columns of a channel lie apart
        scattered = isinstance(node, Flatten) and len(node.inputs) == 2
        if not (plain or (not behind and isinstance(node, Embedding | Positions))) or (scattered and behind):
            return None
    maps = graph.measured
    return tuple(maps[place].inputs // maps[place - 1].outputs for place in range(1, len(maps)))


def scheme_refusal(graph: Graph, scheme: str) -> str | None:
    """Why a graph cannot begin with a scheme, and what it can; None if it can."""
    if scheme in names.GRAPH_SCHEMES or _HAS[scheme](graph):
        return None
    if scheme == "layer_scales":
        return "layer_scales needs a first and a last map, and this network has one: give it two or more"
    allowed = ", ".join((*names.GRAPH_SCHEMES, *(name for name, has in _HAS.items() if has(graph))))
    return f"{scheme} weighs each map against the next that reads it, {_between(graph)}: take {allowed}"


def _between(graph: Graph) -> str:
    """What keeps maps from being a chain."""
    for node in graph.walk():
        if type(node) in _BENDS:
            return f"and {node.path} is {_BENDS[type(node)]}"
    return "number by number, and one here takes a patch, a pool, or several tokens of the map before"


_BENDS: dict[type[Node], str] = {Residual: "a residual connection", Norm: "a normalisation", Attention: "an attention"}
_HAS: dict[str, Callable[[Graph], bool]] = {
    "layer_scales": lambda graph: len(graph.measured) > 1,
    "neuron_balanced": lambda graph: columns_per_channel(graph) is not None,
    "balanced": lambda graph: chain_widths(graph) is not None,
}
