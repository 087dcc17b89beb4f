"""How large a list of layers may be, looked at before anything walks down into it."""

from collections.abc import Mapping

from nfa_kernels.graphs.errors import GraphError

MAX_LAYERS = 200
"""Of a network, those inside of residual connections counted."""
MAX_LEVELS = 20
"""Of residual connections inside of one another."""


def check_limits(layers: object) -> None:
    """Refuse too many layers or levels, without recursion and in time proportional to the limits.

    Raises:
        GraphError: too many of either, or something other than a list with at least one layer.
    """
    if not isinstance(layers, list | tuple) or not layers:
        received = "an empty list" if isinstance(layers, list | tuple) else f"a {type(layers).__name__}"
        raise GraphError("layers", f"received {received}, needed is a list of at least one layer")
    level: list[list | tuple] = [layers]
    count = depth = 0
    while level:
        depth += 1
        count += sum(len(some) for some in level)
        if count > MAX_LAYERS:
            raise GraphError("layers", f"received more than {MAX_LAYERS} layers, allowed are at most {MAX_LAYERS}")
        if depth > MAX_LEVELS:
            raise GraphError(
                "layers",
                f"received residual connections more than {MAX_LEVELS} levels deep, allowed are at most {MAX_LEVELS}",
            )
        level = [
            inner
            for some in level
            for layer in some
            if isinstance(layer, Mapping)
            for inner in layer.values()
            if isinstance(inner, list | tuple)
        ]
