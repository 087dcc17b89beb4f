"""What each kind of layer reads, the shape it gives, and the parameters and measured matrices it has."""

from collections.abc import Callable, Mapping
from typing import NoReturn

from nfa_kernels import names
from nfa_kernels.graphs.building import Building
from nfa_kernels.graphs.errors import GraphError, why_not
from nfa_kernels.graphs.nodes import (
    Activated,
    Attention,
    Conv,
    Embedding,
    Flatten,
    Linear,
    Node,
    Norm,
    Parameter,
    Pool,
    Positions,
    Readout,
    Residual,
    Shape,
)
from nfa_kernels.graphs.reading import Settings, meant, shown

Layer = Callable[[Building, str, object, Shape], Node]
"""(what has been built so far, the layer's path, its settings, the shape that enters it) -> the layer."""


def layer(building: Building, path: str, given: object, shape: Shape) -> Node:
    """Read one entry of a list of layers: a name, or {kind: settings}.

    Raises:
        GraphError: an unknown kind, or whatever the kind refuses.
    """
    if isinstance(given, Mapping) and len(given) == 1:
        kind, settings = next(iter(given.items()))
    elif isinstance(given, str):
        kind, settings = given, None
    else:
        received = f"{shown(given)}" if not isinstance(given, Mapping) else f"{len(given)} kinds at once"
        raise GraphError(path, f"received {received}, needed is a name such as relu, or one kind with its settings")
    if isinstance(kind, str):
        _refuse(path, kind)
        if isinstance(given, str) and kind == "linear":
            raise GraphError(path, "received linear alone; a linear map is {linear: 32}, the last one {linear: {}}")
        if kind in KINDS:
            return KINDS[kind](building, path, settings, shape)
        if kind in names.ACTIVATIONS:
            return _activation(building, path, kind, settings, shape)
    allowed = (*KINDS, *(name for name in names.ACTIVATIONS if name != "linear"))
    raise GraphError(path, f"received the kind {shown(kind)}, allowed are {', '.join(allowed)}{meant(kind, allowed)}")


def _refuse(path: str, kind: str) -> None:
    if (why := why_not(kind)) is not None:
        raise GraphError(path, why)


def _misfit(path: str, what: str, shape: Shape, needed: str, step: str) -> NoReturn:
    raise GraphError(path, f"{what} receives shape {shape}, needed is {needed}; {step}")


def _linear(building: Building, path: str, given: object, shape: Shape) -> Node:
    settings = Settings(path, given, ("units", "name", "bias"), "units")
    last = building.is_last(path)
    if "units" not in settings.given and not last:
        raise GraphError(path, "units is missing; only the last layer takes it from the data's number of outputs")
    if len(shape) == 1 and not building.is_numbers(shape):
        leading: Shape = ()
    elif len(shape) == 2:
        leading = shape[:1]
    else:
        step = "put {embedding: 32} before it" if len(shape) == 1 else "put flatten or {pool: global} before it"
        _misfit(path, "a linear map", shape, "a vector (d,) or tokens (t, d)", step)
    units, bias = settings.whole("units", building.outputs), settings.flag("bias", False)
    name = building.named("linear", settings.name(), path)
    found = building.map(name, shape[-1], (units, shape[-1]), bias, positions=leading[0] if leading else 1)
    return Linear(path, shape, (*leading, units), *found, bias=bias)


def _conv(building: Building, path: str, given: object, shape: Shape) -> Node:
    settings = Settings(path, given, ("channels", "kernel", "stride", "padding", "name", "bias"))
    if len(shape) != 3:
        _misfit(path, "a convolution", shape, "an image (c, h, w)", "take the data as images, or a linear map")
    channels, kernel, stride = settings.whole("channels"), settings.whole("kernel"), settings.whole("stride", 1)
    same, bias = settings.one_of("padding", ("same", "valid"), "same") == "same", settings.flag("bias", False)
    c, h, w = shape
    if kernel > min(h, w):
        step = "make the kernel smaller, or pool less before it"
        _misfit(path, f"a kernel ({kernel}, {kernel})", shape, f"an image of at least ({kernel}, {kernel})", step)
    before, after = ((kernel - 1) // 2, kernel - 1 - (kernel - 1) // 2) if same else (0, 0)
    high, wide = ((side + before + after - kernel) // stride + 1 for side in (h, w))
    name, fan_in = building.named("conv", settings.name(), path), c * kernel * kernel
    found = building.map(name, fan_in, (channels, c, kernel, kernel), bias, positions=high * wide)
    return Conv(path, shape, (channels, high, wide), *found, kernel, stride, before, after, bias)


def _activation(building: Building, path: str, kind: str, given: object, shape: Shape) -> Node:
    building.refuse_numbers(path, shape, kind)
    settings = Settings(
        path, given, ("slope",) if kind == "leaky_relu" else (), "slope" if kind == "leaky_relu" else ""
    )
    return Activated(path, shape, shape, activation=kind, slope=settings.number("slope", 0.1))


def _norm(building: Building, path: str, given: object, shape: Shape) -> Node:
    settings = Settings(path, given, ("kind", "groups", "epsilon", "name"), "kind")
    kind = settings.given.get("kind")
    if isinstance(kind, str):
        _refuse(path, kind)
    kind = settings.one_of("kind", ("layer", "rms", "group"))
    building.refuse_numbers(path, shape, "a normalisation")
    features = shape[0] if len(shape) == 3 else shape[-1]
    if "groups" in settings.given and kind != "group":
        raise GraphError(path, f"groups is read by {{kind: group}} alone, received is the kind {kind}")
    groups = settings.whole("groups", 1)
    if features % groups:
        raise GraphError(path, f"{groups} groups do not divide the {features} features of shape {shape}")
    name = building.named("norm", settings.name(), path)
    places = [building.add(Parameter(f"{name}.weight", (features,), "gain", 1, features))]
    if kind != "rms":
        places.append(building.add(Parameter(f"{name}.bias", (features,), "bias", 1, features)))
    return Norm(path, shape, shape, tuple(places), (), kind, groups, settings.number("epsilon", 1e-5))


def _pool(building: Building, path: str, given: object, shape: Shape) -> Node:
    settings = Settings(path, {"size": given} if given == "global" else given, ("kind", "size"), "kind")
    kind = settings.one_of("kind", ("average", "max"), "average")
    if len(shape) != 3:
        _misfit(path, "a pool", shape, "an image (c, h, w)", "of tokens take {readout: mean}")
    if settings.given.get("size", "global") == "global":
        return Pool(path, shape, shape[:1], kind=kind)
    size = settings.whole("size")
    if size > min(shape[1:]):
        _misfit(path, f"a pool of size {size}", shape, f"an image of at least ({size}, {size})", "make it smaller")
    return Pool(path, shape, (shape[0], shape[1] // size, shape[2] // size), kind=kind, size=size)


def _flatten(building: Building, path: str, given: object, shape: Shape) -> Node:
    Settings(path, given, ())
    building.refuse_numbers(path, shape, "flatten")
    size = 1
    for length in shape:
        size *= length
    return Flatten(path, shape, (size,))


def _residual(building: Building, path: str, given: object, shape: Shape) -> Node:
    building.refuse_numbers(path, shape, "a residual connection")
    if not isinstance(given, list | tuple) or not given:
        raise GraphError(path, f"received {shown(given)}, needed is a list of at least one layer")
    layers, inner = [], shape
    for index, one in enumerate(given):
        layers.append(layer(building, f"{path}.residual[{index}]", one, inner))
        inner = layers[-1].outputs
    if inner != shape:
        told = f"the layers inside give shape {inner}, added to shape {shape} that enters them"
        raise GraphError(path, f"{told}; they must be equal: change the size of {path}.residual[{len(layers) - 1}]")
    return Residual(path, shape, shape, layers=tuple(layers))


def _attention(building: Building, path: str, given: object, shape: Shape) -> Node:
    settings = Settings(path, given, ("heads", "causal", "name", "bias"), "heads")
    if len(shape) != 2:
        _misfit(path, "attention", shape, "tokens (t, d)", "of numbers of tokens put {embedding: 32} before it")
    heads, bias, (tokens, width) = settings.whole("heads", 1), settings.flag("bias", False), shape
    if width % heads:
        raise GraphError(path, f"{heads} heads do not divide the width {width} of shape {shape}; take a divisor")
    name = building.named("attention", settings.name(), path)
    maps = [
        building.map(f"{name}.{role}", width, (width, width), bias, positions=tokens)
        for role in ("query", "key", "value", "output")
    ]
    parameters, measured = (tuple(place for one in maps for place in one[part]) for part in (0, 1))
    return Attention(path, shape, shape, parameters, measured, heads, settings.flag("causal", False), bias)


def _embedding(building: Building, path: str, given: object, shape: Shape) -> Node:
    settings = Settings(path, given, ("width", "name"), "width")
    if not building.is_numbers(shape):
        _misfit(path, "an embedding", shape, "numbers of tokens (t,)", "take data of whole numbers, or a linear map")
    width, rows = settings.whole("width"), building.vocabulary
    table = Parameter(
        f"{building.named('embedding', settings.name(), path)}.weight", (rows, width), "embedding", width, width
    )
    building.has_embedded = True
    return Embedding(path, shape, (*shape, width), (building.add(table),))


def _positions(building: Building, path: str, given: object, shape: Shape) -> Node:
    settings = Settings(path, given, ("kind", "name"), "kind")
    settings.one_of("kind", ("learned",), "learned")
    if len(shape) != 2:
        _misfit(path, "positions", shape, "tokens (t, d)", "of numbers of tokens put {embedding: 32} before them")
    name = building.named("positions", settings.name(), path)
    return Positions(
        path, shape, shape, (building.add(Parameter(f"{name}.weight", shape, "position", shape[1], shape[1])),)
    )


def _readout(building: Building, path: str, given: object, shape: Shape) -> Node:
    kind = Settings(path, given, ("kind",), "kind").one_of("kind", ("mean", "last", "flatten"))
    if len(shape) != 2:
        _misfit(path, "a readout", shape, "tokens (t, d)", "of an image take {pool: global}")
    return Readout(path, shape, (shape[0] * shape[1],) if kind == "flatten" else shape[1:], kind=kind)


KINDS: dict[str, Layer] = {
    "linear": _linear,
    "conv": _conv,
    "norm": _norm,
    "pool": _pool,
    "flatten": _flatten,
    "residual": _residual,
    "attention": _attention,
    "embedding": _embedding,
    "positions": _positions,
    "readout": _readout,
}
"""Kinds of layers beside the activations, which are meant by their own names."""
