"""The graphs that a grid's networks stand for, as a preview shows them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nfa_kernels.graphs import cost
from nfa_kernels.graphs.roles import Role, roles
from service.grid.data_shapes import DataShape
from service.grid.networks import graph_of, written_layers

MOST_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class ShownLayer:
    """A measured layer."""

    number: int
    name: str
    outputs: int
    inputs: int
    positions: int
    """At how many places of a sample its matrix (outputs, inputs) is applied."""
    role: Role | None
    """Which of its widths grow; None where the parameterisation does not ask."""


@dataclass(frozen=True, slots=True)
class ShownNetwork:
    """A network that is not fully connected."""

    kind: str
    settings: Mapping[str, Any]
    """In canonical form, without the kind and, of a graph, without its layers."""
    layers: list[Any]
    """What it stands for, as the kind graph takes it."""
    measured: list[ShownLayer]
    parameters: int


def shown_networks(networks: Iterable[tuple[Mapping[str, Any], DataShape]]) -> list[ShownNetwork]:
    """The different graphs of some networks, in order of appearance; at most twenty.

    Args:
        networks: canonical settings of that section, and the sizes of the data.
    """
    found: dict[str, ShownNetwork] = {}
    for network, shape in networks:
        graph = graph_of(network, shape)
        if graph is None:
            continue
        key = repr((network, shape.form, shape.vocabulary, shape.outputs))
        if key not in found:
            own_roles = roles(graph) if network["parameterization"] == "mup" else None
            measured = [
                ShownLayer(
                    *(one.number, one.name, one.outputs, one.inputs, one.positions),
                    role=own_roles[one.parameter] if own_roles else None,
                )
                for one in graph.measured
            ]
            own = {name: value for name, value in network.items() if name not in ("kind", "layers")}
            found[key] = ShownNetwork(
                network["kind"], own, written_layers(network, shape), measured, cost.parameters(graph)
            )
        if len(found) == MOST_SHOWN:
            break
    return list(found.values())
