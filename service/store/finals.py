"""Final values of many trials, one metric at a time: what filters, tables and orders read."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, and_, select

from nfa_kernels import names
from service.questions import filters
from service.store.metric_sources import final_column, is_layered, source_of
from service.store.models import final, trial
from service.store.readings import word_of


def final_lookup(connection: Connection, members: Select[Any], path: str) -> Mapping[int, Any]:
    """Trial -> value of a path final.METRIC[layer], words as words."""
    found = filters.split_final(path)
    assert found is not None
    values = final_values(connection, members, *found)
    if found[0] in names.METRICS and names.METRICS[found[0]].words:
        return {key: word_of(found[0], value) for key, value in values.items()}
    return values


def final_values(
    connection: Connection, members: Select[Any], metric: str, layer: int | None
) -> dict[int, float | None]:
    """Trial -> a metric's value at the last step, of trials that have ended with one.

    Args:
        connection: a reading transaction.
        members: a SELECT of trial keys.
        metric: its id.
        layer: which; None for the first measured one. Does not count for network metrics.
    """
    column = final_column(metric)
    if column is not None:
        query = select(final.c.trial_id, column).where(final.c.trial_id.in_(members))
        if layer is None or not is_layered(metric):
            return _pairs(connection, query)
        first = _pairs(connection, query.where(final.c.layer == layer))
        return first | _at_last_step(connection, members, metric, layer, final.c.layer != layer)
    if layer is not None:
        return _at_last_step(connection, members, metric, layer, None)
    found: dict[int, float | None] = {}
    for first_layer in connection.scalars(select(final.c.layer).where(final.c.trial_id.in_(members)).distinct()):
        found |= _at_last_step(connection, members, metric, first_layer, final.c.layer == first_layer)
    return found


def _at_last_step(
    connection: Connection, members: Select[Any], metric: str, layer: int, condition: Any
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
