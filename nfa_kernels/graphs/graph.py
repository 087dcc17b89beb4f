"""A network as a graph of layers, read from data: `{kind: graph, layers: [..]}`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nfa_kernels.graphs.building import Building
from nfa_kernels.graphs.errors import GraphError
from nfa_kernels.graphs.layers import layer
from nfa_kernels.graphs.limits import check_limits
from nfa_kernels.graphs.nodes import (
    Activated,
    Attention,
    Conv,
    Flatten,
    Linear,
    Measured,
    Node,
    Norm,
    Parameter,
    Residual,
    Shape,
)


@dataclass(frozen=True)
class Input:
    """What one sample is."""

    shape: Shape
    """(d,), an image (c, h, w), tokens (t, d), or with a vocabulary (t,) numbers of tokens."""
    vocabulary: int = 0
    """How many different numbers of tokens there are; 0 for real numbers."""


@dataclass(frozen=True)
class Graph:
    """Layers one behind the other, with everything that follows from their settings and the data's shape."""

    input: Input
    nodes: tuple[Node, ...]
    parameters: tuple[Parameter, ...]
    """In forward order, of a map its weight before its bias."""
    measured: tuple[Measured, ...]

    @property
    def outputs(self) -> int:
        """C, the number of outputs."""
        return self.nodes[-1].outputs[0]

    @property
    def has_imbalance(self) -> bool:
        """Whether every measured layer is read by the next alone, so that the imbalance of the network is defined."""
        return all(one.next == one.number + 1 for one in self.measured[:-1]) and not self.is_bent

    @property
    def is_bent(self) -> bool:
        """Whether there is a residual connection, a normalisation or attention."""
        return any(isinstance(node, Residual | Norm | Attention) for node in self.walk())

    @property
    def is_linear(self) -> bool:
        """Whether nothing bends the network: linear maps of vectors, with or without biases."""
        plain = all(isinstance(node, Linear | Flatten) for node in self.nodes)
        return plain and all(one.positions == 1 for one in self.measured)

    def walk(self) -> Iterator[Node]:
        """Every layer, those inside of a residual connection behind it."""
        return _walk(self.nodes)


def graph(layers: Sequence[object], data: Input, outputs: int) -> Graph:
    """Read a list of layers.

    Args:
        layers: entries as the grid has them: a name, or {kind: settings}.
        data: what a sample is.
        outputs: the data's number of outputs C.
    Raises:
        GraphError: layers that are no network or do not fit the data; names the layer.
    """
    check_limits(layers)
    _check_input(data, outputs)
    building = Building(outputs, data.vocabulary, f"layers[{len(layers) - 1}]")
    nodes, shape = [], data.shape
    for index, given in enumerate(layers):
        nodes.append(layer(building, f"layers[{index}]", given, shape))
        shape = nodes[-1].outputs
    if shape != (outputs,) or building.is_numbers(shape):
        told = f"gives shape {shape}, the data have outputs of shape {(outputs,)}"
        raise GraphError(nodes[-1].path, f"{told}; end with {{linear: {{}}}}, of tokens behind a readout")
    if not building.measured:
        raise GraphError("layers", "received no linear map, convolution or attention; there is nothing to measure")
    return Graph(data, tuple(nodes), tuple(building.parameters), _completed(tuple(nodes), building.measured))


def _check_input(data: Input, outputs: int) -> None:
    sizes = (*data.shape, outputs)
    if not 1 <= len(data.shape) <= 3 or min(sizes) < 1 or (data.vocabulary and len(data.shape) != 1):
        raise GraphError(
            "data",
            f"received samples of shape {data.shape}, {data.vocabulary} numbers of tokens and {outputs} outputs; "
            "allowed are (d,), (t, d), (c, h, w), or with numbers of tokens (t,), and at least one output",
        )


def _walk(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        if isinstance(node, Residual):
            yield from _walk(node.layers)


def _completed(nodes: tuple[Node, ...], measured: Sequence[Measured]) -> tuple[Measured, ...]:
    """Measured layers with what only the whole graph tells: the longest way to the output, and what theorems cover."""
    above: dict[int, int] = {}
    _count_above(nodes, 0, above)
    following: dict[int, int] = {}
    _follow(nodes, measured, following)
    bent = any(isinstance(node, Residual | Norm | Attention) for node in _walk(nodes))
    plain = not bent and all(one.positions == 1 for one in measured)
    return tuple(
        replace(one, above=above[one.number], has_residual=plain, next=following.get(one.number)) for one in measured
    )


def _longest(node: Node) -> int:
    """Measured layers on the longest way through a node."""
    if isinstance(node, Residual):
        return sum(_longest(inner) for inner in node.layers)
    if isinstance(node, Attention):
        return 2
    return len(node.measured)


def _count_above(nodes: Sequence[Node], behind: int, above: dict[int, int]) -> None:
    """Write the longest way to the output for every measured layer, `behind` measured layers following the nodes."""
    for node in reversed(nodes):
        if isinstance(node, Residual):
            _count_above(node.layers, behind, above)
        elif isinstance(node, Attention):
            *readers, output = node.measured
            above[output] = behind + 1
            above.update(dict.fromkeys(readers, behind + 2))
        else:
            above.update(dict.fromkeys(node.measured, behind + 1))
        behind += _longest(node)


def _follow(nodes: Sequence[Node], measured: Sequence[Measured], following: dict[int, int]) -> None:
    """Write which map reads the outputs of which, through nothing or activations."""
    current: Measured | None = None
    for node in nodes:
        if isinstance(node, Residual):
            _follow(node.layers, measured, following)
        if isinstance(node, Linear | Conv):
            reader = measured[node.measured[0] - 1]
            if current and (current.positions, current.outputs) == (reader.positions, reader.inputs):
                following[current.number] = reader.number
            current = reader
        elif not (isinstance(node, Activated) or (isinstance(node, Flatten) and current and current.positions == 1)):
            current = None
