"""Final values of many trials: all of them for a list, one metric at a time for filters, tables and orders."""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, and_, or_, select

from nfa_kernels import names
from service.questions import filters
from service.store.known_settings import documents_of
from service.store.layer_names import Layer, by_number
from service.store.measured_models import (
    LAYER_COLUMNS,
    NETWORK_COLUMNS,
    NETWORK_LAYER,
    final,
    layer_measurement,
    parametrised_measurement,
)
from service.store.metric_sources import final_column, is_layered, source_of
from service.store.models import trial
from service.store.remeasured import remeasured


def final_lookups(connection: Connection, members: Select[Any], paths: Iterable[str]) -> dict[str, Mapping[int, Any]]:
    """Each path final.METRIC[layer] -> trial -> its value, words as words; rows by name are read in one go."""
    found: dict[str, tuple[str, Layer | None]] = {}
    for path in paths:
        split = filters.split_final(path)
        assert split is not None
        found[path] = split
    named = _named_values(connection, members, {metric for metric, layer in found.values() if _by_name(metric, layer)})
    lookups: dict[str, Mapping[int, Any]] = {}
    for path, (metric, layer) in found.items():
        values = named[metric] if _by_name(metric, layer) else final_values(connection, members, metric, layer)
        is_word = bool(names.words_of(metric))
        lookups[path] = {key: word_of(metric, one) for key, one in values.items()} if is_word else values
    return lookups


def final_values(
    connection: Connection, members: Select[Any], metric: str, layer: Layer | None
) -> dict[int, float | None]:
    """Trial -> a metric's value at the last step, of trials that have ended with one.

    Args:
        connection: a reading transaction.
        members: a SELECT of trial keys.
        metric: its id.
        layer: which, by number or name; None for the first measured one. Does not count for network metrics.
    """
    if isinstance(layer, str):
        return {
            key: value
            for number, some in by_number(connection, members, layer)
            for key, value in final_values(connection, some, metric, number).items()
        }
    column = final_column(metric)
    if column is not None:
        query = select(final.c.trial_id, column).where(final.c.trial_id.in_(members))
        if layer is None or not is_layered(metric):
            return _pairs(connection, query)
        first = _pairs(connection, query.where(final.c.layer == layer))
        return first | _at_last_step(connection, members, metric, layer, final.c.layer != layer)
    if _by_name(metric, layer):
        return _named_values(connection, members, {metric})[metric]
    return _at_last_step(connection, members, metric, layer, None)


def _by_name(metric: str, layer: Layer | None) -> bool:
    """Whether a metric lies in rows by name, and is asked for in the network or in the first measured layer."""
    return final_column(metric) is None and (layer is None or not is_layered(metric))


def _named_values(
    connection: Connection, members: Select[Any], metrics: Collection[str]
) -> dict[str, dict[int, float | None]]:
    """Metric in rows by name -> trial -> its value at the last step, in the network or the first measured layer."""
    found: dict[str, dict[int, float | None]] = {metric: {} for metric in metrics}
    if not found:
        return found
    query = _named_rows(frozenset(metrics)).where(trial.c.id.in_(members))
    for key, metric, value in connection.execute(query).all():
        found[metric][key] = value
    return found


@lru_cache(maxsize=256)
def _named_rows(metrics: frozenset[str]) -> Select[Any, Any, Any]:
    """SELECT of trial, metric and value of all trials; searches ask it in every round."""
    rows = parametrised_measurement
    layered = sorted(metric for metric in metrics if is_layered(metric))
    of_network = sorted(metric for metric in metrics if not is_layered(metric))
    place = or_(
        and_(rows.c.layer == final.c.layer, rows.c.name.in_(layered)),
        and_(rows.c.layer == NETWORK_LAYER, rows.c.name.in_(of_network)),
    )
    return (
        select(trial.c.id, rows.c.name, rows.c.value)
        .join(final, final.c.trial_id == trial.c.id)
        .join(rows, and_(rows.c.trial_id == trial.c.id, rows.c.step == trial.c.last_step))
        .where(place)
    )


def _at_last_step(
    connection: Connection, members: Select[Any], metric: str, layer: int | None, condition: Any
) -> dict[int, float | None]:
    """The value in the row of each trial's last step; `condition` is about its `final`."""
    source = source_of(metric, layer)
    rows = source.table
    query = (
        select(trial.c.id, source.value)
        .join(final, final.c.trial_id == trial.c.id)
        .join(rows, and_(rows.c.trial_id == trial.c.id, rows.c.step == trial.c.last_step))
        .where(trial.c.id.in_(members), source.condition)
    )
    return _pairs(connection, query if condition is None else query.where(condition))


def _pairs(connection: Connection, query: Select[*tuple[Any, ...]]) -> dict[int, float | None]:
    return {row[0]: row[1] for row in connection.execute(query).all()}


def finals_of(connection: Connection, members: Select[Any]) -> dict[int, dict[str, Any]]:
    """Final values of trials by the names users see: `alignment`, and `alignment[2]` for every measured layer.

    Args:
        connection: a reading transaction.
        members: a SELECT of trial keys.
    """
    found: dict[int, dict[str, Any]] = {}
    measured: dict[int, frozenset[str]] = {}
    rows = connection.execute(
        select(final, trial.c.settings_id)
        .join(trial, trial.c.id == final.c.trial_id)
        .where(final.c.trial_id.in_(members))
    ).all()
    documents = documents_of(connection, {row.settings_id for row in rows})
    asked = {key: frozenset(document["measure"]["metrics"]) for key, document in documents.items()}
    again = remeasured(connection, members)
    for row in rows:
        own = asked[row.settings_id]
        measured[row.trial_id] = own = own | again[row.trial_id].metrics if row.trial_id in again else own
        found[row.trial_id] = {name: _told(name, row[place]) for name, place in _FINAL_PLACES.items() if name in own}
    last = and_(layer_measurement.c.trial_id == trial.c.id, layer_measurement.c.step == trial.c.last_step)
    layers = (
        select(layer_measurement).join(trial, last).where(trial.c.id.in_(members)).order_by(layer_measurement.c.layer)
    )
    for row in connection.execute(layers).all():
        key, layer = row.trial_id, row.layer
        if key in found:
            own = measured[key]
            found[key] |= {
                f"{name}[{layer}]": _told(name, row[place]) for name, place in _LAYER_PLACES.items() if name in own
            }
    _add_named(connection, members, found)
    return found


def _places(table: Table, columns: Iterable[str]) -> dict[str, int]:
    """Where in a row of a table these columns stand."""
    names_there = list(table.c.keys())
    return {name: names_there.index(name) for name in columns}


_FINAL_PLACES: Final = _places(final, (*NETWORK_COLUMNS, *LAYER_COLUMNS))
_LAYER_PLACES: Final = _places(layer_measurement, LAYER_COLUMNS)
_WORDS: Final = frozenset(name for name in _FINAL_PLACES if names.words_of(name))


def _told(name: str, value: float | None) -> Any:
    """A value of a column as users see it; a page has thousands, most of them numbers."""
    return word_of(name, value) if name in _WORDS else value


def _add_named(connection: Connection, members: Select[Any], found: dict[int, dict[str, Any]]) -> None:
    table = parametrised_measurement
    last = and_(table.c.trial_id == trial.c.id, table.c.step == trial.c.last_step)
    query = select(table).join(trial, last).where(trial.c.id.in_(members)).order_by(table.c.layer, table.c.name)
    for row in connection.execute(query).all():
        if row.trial_id in found:
            value = word_of(row.name, row.value)
            found[row.trial_id].setdefault(row.name, value)
            if row.layer != NETWORK_LAYER:
                found[row.trial_id][f"{row.name}[{row.layer}]"] = value


def words_of(metric: str) -> tuple[str, ...]:
    """The words that a metric's stored codes stand for; empty for a number."""
    return names.words_of(metric)


def word_of(metric: str, value: float | None) -> Any:
    """A stored value as users see it: the word behind a code, the number itself otherwise."""
    words = words_of(metric)
    return words[int(value)] if words and value is not None else value
