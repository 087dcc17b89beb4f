"""The group-by table of an experiment, and the rows its claims are judged on.

Only completed trials with a defined value enter an aggregate, and every aggregate says how many did.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from nfa_kernels import names
from service.questions.judging import Claim, Row, Series
from service.questions.reductions import Reduction
from service.store.experiments import require
from service.store.ids import trial_id
from service.store.members import Group, groups_of, keys_of
from service.store.readings import TrialRow, finals_of, lookup_of, members_of, trials_of
from service.store.series import reduced_values, series_of, times_of
from service.store.session import Store

BOOTSTRAP_DRAWS = 2_000
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Question:
    """A group-by question; names are checked by the caller."""

    group_by: tuple[str, ...]
    metrics: tuple[str, ...]
    layer: int
    reduction: Reduction
    aggregates: tuple[str, ...]
    where: str = ""


def group_table(store: Store, experiment: str, question: Question, also: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row per group: its keys, `trials`, `incomplete`, and METRIC_AGGREGATE; ordered by the keys.

    With further experiments under `also`, each has groups of its own, told apart by a first key `experiment`.
    """
    with store.read() as connection:
        numbers = [require(connection, one) for one in (experiment, *also)]
        groups = groups_of(connection, numbers, question.group_by, question.where, by_experiment=bool(also))
        values = {
            metric: reduced_values(connection, keys_of(numbers), metric, question.layer, question.reduction)
            for metric in question.metrics
        }
    table = [_summary(group, values, question.aggregates) for group in groups]
    keys = [*(["experiment"] if also else []), *question.group_by]
    return sorted(table, key=lambda row: tuple(order(row[path]) for path in keys))


def _summary(
    group: Group, values: Mapping[str, Mapping[int, float | None]], aggregates: Sequence[str]
) -> dict[str, Any]:
    completed = group.completed
    trials = len(group.members)
    summary = {**group.key, "trials": trials, "incomplete": trials - len(completed)}
    for metric, by_trial in values.items():
        numbers = np.array([v for v in (by_trial.get(key) for key in completed) if v is not None], dtype=np.float64)
        for aggregate in aggregates:
            summary |= aggregated(metric, aggregate, numbers)
    return summary


def aggregated(metric: str, aggregate: str, values: np.ndarray) -> dict[str, float | int | None]:
    """One aggregate of the values, under the name it has in tables; null where it is undefined."""
    name, count = f"{metric}_{aggregate}", len(values)
    if aggregate == "ci95":
        low, high = _bootstrap(values) if count >= 2 else (None, None)
        return {f"{name}_low": low, f"{name}_high": high}
    if aggregate == "count":
        return {name: count}
    if count < (2 if aggregate in ("std", "sem") else 1):
        return {name: None}
    function = STATISTICS.get(aggregate) or (lambda numbers: np.quantile(numbers, int(aggregate[1:]) / 100))
    return {name: float(function(values))}


STATISTICS: Mapping[str, Callable[[np.ndarray], float]] = {
    "mean": lambda values: math.fsum(values) / len(values),
    "std": lambda values: values.std(ddof=1),
    "sem": lambda values: values.std(ddof=1) / math.sqrt(len(values)),
    "min": np.min,
    "max": np.max,
    "median": np.median,
}
"""Beside these: count, qNN (a quantile in percent, linear) and ci95 (bootstrap interval of the mean)."""


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    """Percentile interval of the mean, 2,000 draws from a fixed seed."""
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    draws = generator.choice(values, (BOOTSTRAP_DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def order(value: Any) -> tuple[int, Any]:
    """Numbers first, then words, then what has no value."""
    if isinstance(value, bool | int | float):
        return 0, value
    return (2, "") if value is None else (1, str(value))


def claim_rows(store: Store, experiment: str, claims: Sequence[Claim]) -> dict[str, list[Row]]:
    """What each claim is judged on, by the claim's id."""
    with store.read() as connection:
        number = require(connection, experiment)
        if not claims:
            return {}
        rows = trials_of(connection, number)
        finals = finals_of(connection, members_of(number))
        numeric = {
            key: {name: value for name, value in values.items() if not isinstance(value, str)}
            for key, values in finals.items()
        }
        return {claim.id: _rows_for(connection, number, claim, rows, finals, numeric) for claim in claims}


def _rows_for(
    connection: Connection,
    number: int,
    claim: Claim,
    rows: Sequence[TrialRow],
    finals: Mapping[int, Mapping[str, Any]],
    numeric: Mapping[int, Mapping[str, Any]],
) -> list[Row]:
    layers = _layers_of(claim, rows)
    values: dict[int, dict[int, float | None]] = {row.id: {} for row in rows}
    series: dict[int, dict[int, Series]] = {row.id: {} for row in rows}
    for layer in layers:
        if claim.needs_series:
            frame = series_of(connection, members_of(number), claim.metric, layer)
            timed = frame.join(times_of(connection, members_of(number)), on=["trial_id", "step"], maintain_order="left")
            for (key,), part in timed.group_by("trial_id", maintain_order=True):
                found = Series(part["step"].to_list(), part["time"].to_list(), part[claim.metric].to_list())
                series[int(str(key))][layer] = found
        else:
            found_values = reduced_values(connection, members_of(number), claim.metric, layer, claim.reduction)
            for key, value in found_values.items():
                values[key][layer] = value
    return [
        Row(
            trial=trial_id(row.id),
            state=row.state,
            lookup=lookup_of(row, finals.get(row.id, {})),
            final=numeric.get(row.id, {}),
            values={layer: values[row.id].get(layer) for layer in _measured(claim, row, layers)},
            series=series[row.id],
        )
        for row in rows
    ]


def _layers_of(claim: Claim, rows: Sequence[TrialRow]) -> list[int]:
    if claim.metric in names.NETWORK_METRICS:
        return [0]
    if isinstance(claim.layer, int):
        return [claim.layer]
    return sorted({layer for row in rows for layer in row.settings["measure"]["layers"]})


def _measured(claim: Claim, row: TrialRow, layers: Sequence[int]) -> list[int]:
    return [layer for layer in layers if layer == 0 or layer in row.settings["measure"]["layers"]]
