"""The role of every parameter of a graph: which of its widths grow with the network, and which the data fix.

Features are followed through the graph. Those of the data are fixed, those that a linear map, a convolution or an
embedding gives are chosen, unless they are the network's outputs; a residual connection makes what leaves it one with
what enters it, so that layers around it on the data's own features end in these.
"""

from collections.abc import Sequence

from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import Attention, Conv, Embedding, Linear, Node, Norm, Positions, Residual
from nfa_kernels.parameterizations import Role

_FIXED = 0
_WEIGHT: dict[tuple[bool, bool], Role] = {
    (False, True): "input",
    (True, True): "hidden",
    (True, False): "output",
    (False, False): "direct",
}
"""Whether features that enter and leave a map grow -> its role."""


class _Features:
    """Sets of features that have one width; the first is that of the data, inputs and outputs."""

    def __init__(self) -> None:
        self._parents = [_FIXED]
        self.maps: list[tuple[int, int, int]] = []
        """(place of a parameter, features that enter, features that leave)."""
        self.vectors: list[tuple[int, int]] = []
        """(place of a bias or gain, its features)."""
        self.tables: list[tuple[int, int]] = []
        """(place of a table of embeddings or positions, its features)."""

    def new(self) -> int:
        """Features of a width of their own."""
        self._parents.append(len(self._parents))
        return self._parents[-1]

    def unite(self, one: int, other: int) -> None:
        """Say that two widths are one."""
        first, second = sorted((self._found(one), self._found(other)))
        self._parents[second] = first

    def grow(self, features: int) -> bool:
        """Whether their width is the network's own."""
        return self._found(features) != _FIXED

    def _found(self, features: int) -> int:
        while self._parents[features] != features:
            features = self._parents[features]
        return features

    def through(self, nodes: Sequence[Node], entering: int) -> int:
        """The features that leave the last of these layers."""
        for node in nodes:
            entering = self._of(node, entering)
        return entering

    def _of(self, node: Node, entering: int) -> int:
        leaving = self.new() if isinstance(node, Linear | Conv | Embedding) else entering
        match node:
            case Linear() | Conv():
                self._map(node.parameters, entering, leaving)
            case Attention():
                step = len(node.parameters) // 4
                for first in range(0, len(node.parameters), step):
                    self._map(node.parameters[first : first + step], entering, leaving)
            case Embedding() | Positions():
                self.tables += [(place, leaving) for place in node.parameters]
            case Norm():
                self.vectors += [(place, leaving) for place in node.parameters]
            case Residual():
                self.unite(self.through(node.layers, entering), entering)
        return leaving

    def _map(self, places: Sequence[int], entering: int, leaving: int) -> None:
        """A weight, and its bias if there is one."""
        self.maps.append((places[0], entering, leaving))
        self.vectors += [(place, leaving) for place in places[1:]]


def roles(graph: Graph) -> tuple[Role, ...]:
    """Of every parameter, in their order."""
    features = _Features()
    features.unite(features.through(graph.nodes, _FIXED), _FIXED)
    found: dict[int, Role] = {}
    for place, entering, leaving in features.maps:
        found[place] = _WEIGHT[features.grow(entering), features.grow(leaving)]
    for place, own in features.vectors:
        found[place] = "bias" if features.grow(own) else "output_bias"
    for place, own in features.tables:
        found[place] = "table" if features.grow(own) else "output_bias"
    return tuple(found[place] for place in range(len(graph.parameters)))
