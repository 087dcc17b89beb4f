"""The network of a trial as the graph of layers it stands for, and its measured layers by number and name. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nfa_kernels.graphs.errors import GraphError
from nfa_kernels.graphs.graph import Graph, Input
from nfa_kernels.graphs.named import layers_of, network_graph
from service.grid.data_shapes import DataShape


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a network that can be measured, numbered from 1 in forward order."""

    count: int
    names: tuple[str, ...] = ()
    """Of each; none of a fully connected network, whose layers have numbers alone."""
    others: tuple[str, ...] = ()
    """Names of further layers that have parameters."""

    @property
    def told(self) -> str:
        """What there is, in words."""
        numbered = f"layers 1 to {self.count}"
        return f"{numbered}, named {', '.join(self.names)}" if self.names else numbered

    def number(self, layer: int | str) -> int | None:
        """The number of a measured layer, None if there is no such layer."""
        if isinstance(layer, int):
            return layer if 1 <= layer <= self.count else None
        return self.names.index(layer) + 1 if layer in self.names else None

    def key(self, written: str) -> str | None:
        """How a layer is called under `training.layers`: by its name if it has one; None if there is no such layer."""
        if written.isdecimal():
            number = int(written)
            if not 1 <= number <= self.count:
                return None
            return self.names[number - 1] if self.names else written
        return written if written in self.owners else None

    @property
    def owners(self) -> tuple[str, ...]:
        """Names that may stand under `training.layers`: an attention's stands for all of its maps."""
        wholes = (name.partition(".")[0] for name in self.names if "." in name)
        return tuple(dict.fromkeys((*(name for name in self.names if "." not in name), *wholes, *self.others)))


def graph_of(network: Mapping[str, Any], shape: DataShape) -> Graph | None:
    """The graph of a network in canonical form; None of a fully connected one.

    Raises:
        GraphError: layers that are no network or do not fit the data.
    """
    if network.get("kind", "mlp") == "mlp":
        return None
    return _graph(_text(network), _input(shape), shape.outputs)


def layers_of_network(network: Mapping[str, Any], graph: Graph | None) -> Layers:
    """The measured layers of a network in canonical form, whose graph is given if it has one."""
    if graph is None:
        return Layers(network["depth"])
    named = tuple(one.name for one in graph.measured)
    others = (one.name.rpartition(".")[0] for one in graph.parameters if one.role != "weight")
    return Layers(len(named), named, tuple(dict.fromkeys(name for name in others if name not in named)))


def written_layers(network: Mapping[str, Any], shape: DataShape) -> list[Any]:
    """The layers that a network of a kind but mlp stands for, as the kind graph takes them."""
    if network["kind"] == "graph":
        return network["layers"]
    read = {name: value for name, value in network.items() if name not in ("kind", "parameterization")}
    return layers_of(network["kind"], read, _input(shape))


def _input(shape: DataShape) -> Input:
    return Input(shape.form, shape.vocabulary or 0)


def _text(network: Mapping[str, Any]) -> str:
    return json.dumps(network, separators=(",", ":"))


@lru_cache(maxsize=1024)
def _read(network: str, data: Input, outputs: int) -> Graph | GraphError:
    try:
        return network_graph(json.loads(network), data, outputs)
    except GraphError as error:
        return error


def _graph(network: str, data: Input, outputs: int) -> Graph:
    """A graph that was read, or what it was refused with: thousands of points have the same."""
    found = _read(network, data, outputs)
    if isinstance(found, GraphError):
        raise GraphError(found.where, found.told)
    return found
