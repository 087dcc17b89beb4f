"""Which graphs compiled code knows; torch-free, so that the service may ask."""

from collections.abc import Sequence
from typing import Final

from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import Activated, Node, Residual
from nfa_kernels.names import COMPILED_ACTIVATIONS

MOST_RESIDUALS: Final = 12
"""One in the other."""


def is_compiled(graph: Graph) -> bool:
    """Whether the source knows every layer."""
    return all(map(_is_known, graph.walk())) and _depth(graph.nodes) <= MOST_RESIDUALS


def _is_known(node: Node) -> bool:
    return not isinstance(node, Activated) or node.activation in COMPILED_ACTIVATIONS


def _depth(nodes: Sequence[Node]) -> int:
    """Residual connections one in the other."""
    return max((1 + _depth(node.layers) for node in nodes if isinstance(node, Residual)), default=0)
