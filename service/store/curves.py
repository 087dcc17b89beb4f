"""Seed-averaged series: one per group, by exact step, never interpolated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from service import filters
from service.states import TrialState
from service.store.experiments import require
from service.store.models import LAYER_COLUMNS
from service.store.readings import TrialRow, finals_of, lookup_of, members_of, series_of, trials_of
from service.store.session import Store
from service.store.trials import spread


@dataclass(frozen=True)
class CurveQuestion:
    """Which series of which groups; names are checked by the caller."""

    group_by: tuple[str, ...]
    metric: str
    layer: int
    aggregates: tuple[str, ...]
    where: str = ""
    max_points: int | None = None


def curves(store: Store, experiment: str, question: CurveQuestion) -> list[dict[str, Any]]:
    """One item per group: its keys, `trials`, `incomplete`, and arrays step, time and METRIC_AGGREGATE.

    Completed trials enter, with their defined values; count says how many there are at each step.
    """
    tree = filters.parse(question.where)
    with store.read() as connection:
        number = require(connection, experiment)
        finals = finals_of(connection, members_of(number)) if "final." in question.where else {}
        groups: dict[str, tuple[dict[str, Any], list[TrialRow]]] = {}
        for row in trials_of(connection, number):
            lookup = lookup_of(row, finals.get(row.id, {}))
            if filters.matches(tree, lookup):
                key = {path: lookup(path) for path in question.group_by}
                groups.setdefault(repr(key), (key, []))[1].append(row)
        layer = question.layer if question.metric in LAYER_COLUMNS else None
        frame = series_of(connection, members_of(number), [question.metric], layer)
    return [_curve(key, rows, frame, question) for key, rows in groups.values()]


def _curve(
    key: Mapping[str, Any], rows: Sequence[TrialRow], frame: pl.DataFrame, question: CurveQuestion
) -> dict[str, Any]:
    completed = [row.id for row in rows if row.state == TrialState.COMPLETED]
    metric = question.metric
    by_step = (
        frame.filter(pl.col("trial_id").is_in(completed), pl.col(metric).is_not_null())
        .group_by("step")
        .agg(
            pl.col("time").mean(), *(_aggregate(metric, name).alias(f"{metric}_{name}") for name in question.aggregates)
        )
        .sort("step")
    )
    kept = by_step[spread(by_step.height, question.max_points)]
    return {**key, "trials": len(rows), "incomplete": len(rows) - len(completed), **kept.to_dict(as_series=False)}


def _aggregate(metric: str, name: str) -> pl.Expr:
    """A polars aggregate of the metric's values at one step; std and sem with n - 1, null below two values."""
    column = pl.col(metric)
    if name == "sem":
        return column.std() / column.count().sqrt()
    if name in ("mean", "std", "min", "max", "median", "count"):
        return getattr(column, name)()
    return column.quantile(int(name[1:]) / 100, "linear")
