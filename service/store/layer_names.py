"""Layers by name: which number a name has in the network of each trial, and what there is to ask about."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from nfa_kernels import names
from service.errors import InvalidRequest
from service.grid.reading import LAYERS, layer_names, layer_number, setting
from service.questions.layers import Layer
from service.store.experiments import require
from service.store.keys import among
from service.store.known_settings import documents_of, settings_of
from service.store.models import trial
from service.store.session import Store


class Numbered(NamedTuple):
    """Trials in whose networks a layer has one number."""

    layer: int | None
    members: Select[Any]


def by_number(connection: Connection, members: Select[Any], layer: Layer | None) -> list[Numbered]:
    """The trials of a SELECT of keys, by the number of a layer; those that have no layer of the name are left out."""
    if not isinstance(layer, str):
        return [Numbered(layer, members)]
    keys = list(connection.scalars(select(trial.c.settings_id).where(trial.c.id.in_(members)).distinct()))
    numbers = numbers_of(connection, keys, layer)
    if len(numbers) == 1 and sum(map(len, numbers.values())) == len(keys):
        return [Numbered(next(iter(numbers)), members)]
    return [
        Numbered(number, select(trial.c.id).where(trial.c.id.in_(members), among(connection, trial.c.settings_id, own)))
        for number, own in numbers.items()
    ]


def numbers_of(connection: Connection, keys: Collection[int], layer: str) -> dict[int, list[int]]:
    """The number of a named layer -> settings in whose network it has this number."""
    found: dict[int, list[int]] = {}
    for key, document in documents_of(connection, keys).items():
        number = layer_number(document, layer)
        if number is not None:
            found.setdefault(number, []).append(key)
    return found


def require_layer(connection: Connection, keys: Collection[int], metrics: Sequence[str], layer: Layer) -> None:
    """Refuse a layer that none of these settings' networks has, when a metric of layers is asked for.

    A layer that is there and was not measured has no values, which answers say by null.

    Raises:
        InvalidRequest: names the layers there are.
    """
    if all(metric in names.NETWORK_METRICS for metric in metrics) or not keys:
        return
    documents = documents_of(connection, keys).values()
    if any(layer_number(document, layer) is not None for document in documents):
        return
    known = _all(documents)
    told = ", ".join(f"{number} ({', '.join(called)})" if called else str(number) for number, called in known)
    said = f"received {layer}, which no network of these trials has; there are {told}"
    entry = {"path": "layer", "message": said, "received": str(layer), "allowed": [number for number, _ in known]}
    raise InvalidRequest(f"layer: {said}", errors=[entry])


def layers_of(store: Store, public_id: str) -> list[tuple[int, list[str]]]:
    """Number and names of every layer that an experiment's networks have. Raises NotFound."""
    with store.read() as connection:
        known = settings_of(connection, require(connection, public_id))
        columns = [known.column(connection, path) for path in (LAYERS, "network.depth")]
    return _numbered({(tuple(named or ()), depth) for named, depth in zip(*columns, strict=True)})


def _all(documents: Collection[Mapping[str, Any]]) -> list[tuple[int, list[str]]]:
    """The same of settings."""
    return _numbered({(tuple(layer_names(one)), setting(one, "network.depth")) for one in documents})


def _numbered(networks: Collection[tuple[Sequence[str], int | None]]) -> list[tuple[int, list[str]]]:
    """Number of every layer -> the names it has, at most three of them; of names or, where there are none, depths."""
    known: dict[int, dict[str, None]] = {}
    for named, depth in networks:
        for number in range(1, (len(named) or depth or 0) + 1):
            known.setdefault(number, {}).update({named[number - 1]: None} if named else {})
    return [(number, sorted(called)[:3]) for number, called in sorted(known.items())]
