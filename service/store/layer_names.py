"""Layers by name: which number a name has in the network of each trial, and what there is to ask about."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from nfa_kernels import names
from service.errors import InvalidRequest
from service.grid.reading import layer_number, measured_names
from service.questions.layers import Layer
from service.store.keys import among
from service.store.known_settings import documents_of
from service.store.models import trial


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
    """Refuse a layer that none of these settings measures, when a metric of layers is asked for.

    Raises:
        InvalidRequest: names the layers there are.
    """
    if all(metric in names.NETWORK_METRICS for metric in metrics) or not keys:
        return
    documents = documents_of(connection, keys).values()
    if any(layer_number(document, layer) in document["measure"]["layers"] for document in documents):
        return
    said = f"received {layer}, and no trial measures it; {_told(documents)}"
    allowed = sorted({number for document in documents for number in document["measure"]["layers"]})
    entry = {"path": "layer", "message": said, "received": str(layer), "allowed": allowed}
    raise InvalidRequest(f"layer: {said}", errors=[entry])


def _told(documents: Collection[Mapping[str, Any]]) -> str:
    """Which layers there are, in words."""
    known: dict[int, dict[str, None]] = {}
    for document in documents:
        for number, name in measured_names(document).items():
            known.setdefault(number, {}).update({name: None} if name else {})
    listed = [
        f"{number} ({', '.join([*called][:3])})" if called else str(number) for number, called in sorted(known.items())
    ]
    return f"measured are {', '.join(listed)}; measure.layers says which are"
