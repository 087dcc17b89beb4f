"""Named kinds of networks, each the graph it stands for: depth, width or a kernel are single axes of a sweep."""

from collections.abc import Callable, Mapping
from typing import Any

from nfa_kernels import names
from nfa_kernels.graphs.errors import GraphError
from nfa_kernels.graphs.graph import Graph, Input, graph
from nfa_kernels.graphs.limits import MAX_LAYERS
from nfa_kernels.graphs.reading import Settings

Layers = list[Any]


def layers_of(kind: str, settings: Mapping[str, Any], data: Input) -> Layers:
    """The layers that a named kind stands for.

    Args:
        kind: of `NAMED`.
        settings: its settings; those left out have the defaults of its function.
        data: what a sample is.
    Raises:
        GraphError: an unknown kind, or settings that it refuses.
    """
    read = Settings("network", {"kind": kind}, ("kind",))
    return NAMED[read.one_of("kind", tuple(NAMED))](settings, data)


def network_graph(network: Mapping[str, Any], data: Input, outputs: int) -> Graph:
    """The graph of a network of any kind but mlp.

    Args:
        network: its settings: `kind`, for the kind graph `layers`, else what `names.NETWORK_KINDS` says it reads.
        data: what a sample is.
        outputs: the data's number of outputs C.
    Raises:
        GraphError: layers that are no network or do not fit the data; names the layer.
    """
    kind = network["kind"]
    if kind == "graph":
        return graph(network["layers"], data, outputs)
    read = {name: network[name] for name in names.NETWORK_KINDS[kind] if name in network}
    return graph(layers_of(kind, read, data), data, outputs)


def resmlp(settings: Mapping[str, Any], data: Input) -> Layers:
    """A residual MLP with `depth` linear maps: one in, depth - 2 blocks x + W phi(norm(x)), phi(norm(x)), one out.

    Without skip and norm it is the MLP of this depth and width. Source: He et al. 2016, arXiv:1603.05027.
    """
    read = Settings("network", settings, names.NETWORK_KINDS["resmlp"])
    depth, width, bias = read.whole("depth", most=MAX_LAYERS), read.whole("width", 1), read.flag("bias", False)
    before, skip = [*_norm(read), *_activation(read)], read.flag("skip", True)
    layers: Layers = ["flatten"] if len(data.shape) > 1 else []
    if depth > 1:
        layers.append({"linear": {"units": width, "bias": bias}})
    for _ in range(depth - 2):
        block = [*before, {"linear": {"units": width, "bias": bias}}]
        layers += [{"residual": block}] if skip else block
    return [*layers, *(before if depth > 1 else []), {"linear": {"bias": bias}}]


def convnet(settings: Mapping[str, Any], data: Input) -> Layers:
    """depth - 1 convolutions, each with its normalisation and activation, a pool of the whole image, one linear map."""
    read = Settings("network", settings, names.NETWORK_KINDS["convnet"])
    bias = read.flag("bias", False)
    conv = {
        "channels": read.whole("channels", 16),
        "kernel": read.whole("kernel", 3),
        "stride": read.whole("stride", 1),
        "padding": read.one_of("padding", names.PADDINGS, "same"),
        "bias": bias,
    }
    pool = read.one_of("pool", names.POOLS, "average")
    block = [{"conv": conv}, *_norm(read), *_activation(read)]
    layers = [layer for _ in range(read.whole("depth", most=MAX_LAYERS) - 1) for layer in block]
    return [*layers, "flatten" if pool == "none" else {"pool": {"kind": pool}}, {"linear": {"bias": bias}}]


def transformer(settings: Mapping[str, Any], data: Input) -> Layers:
    """`depth` blocks of attention and an MLP of two maps, normalised before each, between an embedding and a readout.

    Tokens that are vectors already pass a linear map of `width` in place of the embedding. Source: Xiong et al. 2020,
    arXiv:2002.04745 (normalisation before the maps).
    """
    read = Settings("network", settings, names.NETWORK_KINDS["transformer"])
    if len(data.shape) != (1 if data.vocabulary else 2):
        told = f"takes tokens (t, d), or numbers of tokens (t,), received are samples of shape {data.shape}"
        raise GraphError("network", f"{told}; of uploads data.vocabulary says that they are tokens")
    width, bias, norm = read.whole("width"), read.flag("bias", False), _norm(read, "layer")
    mlp_width = read.whole("mlp_width", 4 * width)
    attention = {"heads": read.whole("heads", 1), "causal": read.flag("causal", False), "bias": bias}
    inner = [{"linear": {"units": mlp_width, "bias": bias}}, *_activation(read, "gelu")]
    block = [
        {"residual": [*norm, {"attention": attention}]},
        {"residual": [*norm, *inner, {"linear": {"units": width, "bias": bias}}]},
    ]
    layers: Layers = [{"embedding": width} if data.vocabulary else {"linear": {"units": width, "bias": bias}}]
    if read.one_of("positions", names.POSITIONS, "learned") == "learned":
        layers.append({"positions": "learned"})
    layers += block * read.whole("depth", most=MAX_LAYERS)
    readout = read.one_of("readout", names.READOUTS, "mean")
    return [*layers, *norm, {"readout": readout}, {"linear": {"bias": bias}}]


def _activation(read: Settings, default: str = "linear") -> Layers:
    """The activation between two maps; nothing for the linear one."""
    name = read.one_of("activation", names.ACTIVATIONS, default)
    if name == "leaky_relu":
        return [{name: {"slope": read.number("slope", 0.1)}}]
    return [] if name == "linear" else [name]


def _norm(read: Settings, default: str = "none") -> Layers:
    name = read.one_of("norm", names.NORMS, default)
    return [] if name == "none" else [{"norm": name}]


NAMED: dict[str, Callable[[Mapping[str, Any], Input], Layers]] = {
    "resmlp": resmlp,
    "convnet": convnet,
    "transformer": transformer,
}
"""Named kinds beside mlp and graph."""
