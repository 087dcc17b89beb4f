"""Seed-averaged series: one per group, by exact step, never interpolated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from service.store.experiments import require
from service.store.members import Group, groups_of, keys_of
from service.store.series import series_of, times_of
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


def curves(store: Store, experiment: str, question: CurveQuestion, also: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One item per group: its keys, `trials`, `incomplete`, and arrays step, time and METRIC_AGGREGATE.

    Completed trials enter, with their defined values; count says how many there are at each measured step, 0 where the
    metric is undefined in all of them. With further
    experiments under `also`, each has groups of its own, told apart by a first key `experiment`.
    """
    with store.read() as connection:
        numbers = [require(connection, one) for one in (experiment, *also)]
        groups = groups_of(connection, numbers, question.group_by, question.where, by_experiment=bool(also))
        members = keys_of(numbers)
        frame = series_of(connection, members, question.metric, question.layer)
        timed = frame.join(times_of(connection, members), on=["trial_id", "step"])
    places = pl.DataFrame(
        [(key, place) for place, group in enumerate(groups) for key in group.completed],
        schema={"trial_id": pl.Int64, "group": pl.Int64},
        orient="row",
    )
    by_step = (
        timed.join(places, on="trial_id")
        .group_by("group", "step")
        .agg(
            pl.col("time").mean(),
            *(_aggregate(question.metric, name).alias(f"{question.metric}_{name}") for name in question.aggregates),
        )
        .sort("group", "step")
        .partition_by("group", as_dict=True, include_key=False)
    )
    nothing = pl.DataFrame({"step": [], "time": []} | {f"{question.metric}_{name}": [] for name in question.aggregates})
    return [_curve(group, by_step.get((place,), nothing), question) for place, group in enumerate(groups)]


def _curve(group: Group, by_step: pl.DataFrame, question: CurveQuestion) -> dict[str, Any]:
    kept = by_step[spread(by_step.height, question.max_points)]
    trials = len(group.members)
    return {
        **group.key,
        "trials": trials,
        "incomplete": trials - len(group.completed),
        **kept.to_dict(as_series=False),
    }


def _aggregate(metric: str, name: str) -> pl.Expr:
    """A polars aggregate of the metric's values at one step; std and sem with n - 1, null below two values."""
    column = pl.col(metric)
    if name == "sem":
        return column.std() / column.count().sqrt()
    if name in ("mean", "std", "min", "max", "median", "count"):
        return getattr(column, name)()
    return column.quantile(int(name[1:]) / 100, "linear")
