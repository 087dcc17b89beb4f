"""Series of metrics of many trials, and the one number per trial that a reduction makes of them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from sqlalchemy import Connection, Select, and_, func, select
from sqlalchemy.sql import ColumnElement

from service.questions.reductions import Reduction
from service.store.bulk_reads import read_columns
from service.store.finals import final_values
from service.store.keys import listed
from service.store.layer_names import Layer, by_number
from service.store.measured_models import measurement
from service.store.metric_sources import Source, source_of

_TRIALS_AT_ONCE: Final = 5_000


def series_of(connection: Connection, members: Select[Any], metric: str, layer: Layer | None) -> pl.DataFrame:
    """Series of a metric: columns trial_id, step and the metric, null where undefined; by trial and step.

    Args:
        connection: a reading transaction.
        members: a SELECT of trial keys.
        metric: its id.
        layer: whose, by number or name, for a metric of layers.
    """
    found = layer_values(connection, members, metric, layer)
    columns = {"trial_id": found["trial_id"], "step": found["step"].astype(int), metric: found["value"]}
    return pl.DataFrame(columns).with_columns(pl.col(metric).fill_nan(None)).sort("trial_id", "step")


def layer_values(
    connection: Connection,
    members: Select[Any],
    metric: str,
    layer: Layer | None,
    most_rows: int | None = None,
    within: Callable[[Any], ColumnElement[bool]] | None = None,
) -> dict[str, np.ndarray]:
    """As `values_of`, of a metric in a layer by number or name."""
    parts = [
        values_of(connection, some, source_of(metric, number), most_rows, within)
        for number, some in by_number(connection, members, layer)
    ]
    if len(parts) == 1:
        return parts[0]
    none = np.empty(0, np.int64)
    empty: dict[str, np.ndarray] = {"trial_id": none, "step": none, "value": none.astype(np.float64)}
    return {name: np.concatenate([one, *(part[name] for part in parts)]) for name, one in empty.items()}


def values_of(
    connection: Connection,
    members: Select[Any],
    source: Source,
    most_rows: int | None = None,
    within: Callable[[Any], ColumnElement[bool]] | None = None,
) -> dict[str, np.ndarray]:
    """Every value of a source by trial_id and step (`value`, NaN where undefined), in no particular order.

    Args:
        connection: a reading transaction.
        members: a SELECT of trial keys.
        source: whose values.
        most_rows: refuse more with QuestionTooLarge.
        within: which steps, as a condition on their column; all.
    """
    rows = source.table.c
    columns = {"step": rows.step, "value": source.value}
    met = source.condition if within is None else and_(source.condition, within(rows.step))
    return read_columns(connection, source.table, members, columns, met, most_rows)


def times_of(connection: Connection, members: Select[Any]) -> pl.DataFrame:
    """When every step was: columns trial_id, step, time."""
    rows = measurement.c
    found = read_columns(connection, measurement, members, {"step": rows.step, "time": rows.time})
    return pl.DataFrame(found).with_columns(pl.col("step").cast(pl.Int64))


def reduced_values(
    connection: Connection, members: Select[Any], metric: str, layer: Layer | None, reduction: Reduction
) -> Mapping[int, float | None]:
    """The metric reduced to one number per trial, in the database where it can be said in SQL."""
    found: dict[int, float | None] = {}
    for number, some in by_number(connection, members, layer):
        found |= _reduced(connection, some, metric, number, reduction)
    return found


def _reduced(
    connection: Connection, members: Select[Any], metric: str, layer: int | None, reduction: Reduction
) -> Mapping[int, float | None]:
    if reduction.kind == "final":
        return final_values(connection, members, metric, layer)
    source = source_of(metric, layer)
    if reduction.kind == "mean_last":
        keys = list(connection.scalars(members.distinct()))
        found: dict[int, float | None] = {}
        for start in range(0, len(keys), _TRIALS_AT_ONCE):
            some = listed(connection, keys[start : start + _TRIALS_AT_ONCE])
            found |= _mean_last(series_of(connection, some, metric, layer), metric, int(reduction.number or 1))
        return found
    rows = source.table.c
    own = [rows.trial_id.in_(members), source.condition]
    if reduction.kind == "first":
        first = select(rows.trial_id, func.min(rows.step).label("step")).where(*own).group_by(rows.trial_id).subquery()
        query = select(rows.trial_id, source.value).join(
            first, (first.c.trial_id == rows.trial_id) & (first.c.step == rows.step)
        )
        query = query.where(source.condition)
    else:
        extreme, condition = _extreme(source, reduction)
        query = select(rows.trial_id, extreme).where(*own, condition).group_by(rows.trial_id)
    return {key: None if value is None else float(value) for key, value in connection.execute(query).all()}


def _extreme(source: Source, reduction: Reduction) -> tuple[Any, ColumnElement[bool]]:
    """The aggregate and the rows of min, max, first_above and first_below."""
    value, level = source.value, reduction.number or 0.0
    match reduction.kind:
        case "min":
            return func.min(value), value.is_not(None)
        case "max":
            return func.max(value), value.is_not(None)
        case "first_above":
            return func.min(source.table.c.step), value > level
    return func.min(source.table.c.step), value < level


def _mean_last(frame: pl.DataFrame, metric: str, count: int) -> dict[int, float | None]:
    last = frame.group_by("trial_id", maintain_order=True).agg(pl.col(metric).tail(count).mean())
    return dict(zip(last["trial_id"].to_list(), last[metric].to_list(), strict=True))
