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
from service import filters
from service.claims import Claim, Row, Series
from service.reductions import Reduction
from service.states import TrialState
from service.store.experiments import require
from service.store.ids import trial_id
from service.store.models import LAYER_COLUMNS
from service.store.readings import TrialRow, finals_of, lookup_of, members_of, reduced, series_of, trials_of
from service.store.session import Store

BOOTSTRAP_DRAWS = 2_000
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Question:
    """A group-by question about an experiment; names are checked by the caller."""

    group_by: tuple[str, ...]
    metrics: tuple[str, ...]
    layer: int
    reduction: Reduction
    aggregates: tuple[str, ...]
    where: str = ""


def group_table(store: Store, experiment: str, question: Question) -> list[dict[str, Any]]:
    """One row per group: its keys, `trials`, `incomplete`, and METRIC_AGGREGATE; ordered by the keys."""
    tree = filters.parse(question.where)
    with store.read() as connection:
        number = require(connection, experiment)
        finals = finals_of(connection, members_of(number))
        values = {
            m: _values(connection, number, m, question.layer, question.reduction, finals) for m in question.metrics
        }
        groups: dict[str, tuple[dict[str, Any], list[TrialRow]]] = {}
        for row in trials_of(connection, number):
            lookup = lookup_of(row, finals.get(row.id, {}))
            if filters.matches(tree, lookup):
                key = {path: lookup(path) for path in question.group_by}
                groups.setdefault(repr(key), (key, []))[1].append(row)
    table = [_summary(key, members, values, question.aggregates) for key, members in groups.values()]
    return sorted(table, key=lambda row: tuple(_order(row[path]) for path in question.group_by))


def _summary(
    key: Mapping[str, Any],
    members: Sequence[TrialRow],
    values: Mapping[str, Mapping[int, float | None]],
    aggregates: Sequence[str],
) -> dict[str, Any]:
    completed = [row.id for row in members if row.state == TrialState.COMPLETED]
    summary = {**key, "trials": len(members), "incomplete": len(members) - len(completed)}
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


def _values(
    connection: Connection,
    number: int,
    metric: str,
    layer: int,
    reduction: Reduction,
    finals: Mapping[int, Mapping[str, Any]],
) -> Mapping[int, float | None]:
    """The metric reduced, by trial."""
    is_layered = metric in LAYER_COLUMNS
    if reduction.kind == "final":
        name = f"{metric}[{layer}]" if is_layered else metric
        return {key: values.get(name) for key, values in finals.items()}
    return reduced(
        series_of(connection, members_of(number), [metric], layer if is_layered else None), metric, reduction
    )


def _order(value: Any) -> tuple[int, Any]:
    """Numbers first, then words, then what has no value."""
    if isinstance(value, bool | int | float):
        return 0, value
    return (2, "") if value is None else (1, str(value))


def claim_rows(store: Store, experiment: str, claims: Sequence[Claim]) -> dict[str, list[Row]]:
    """What each claim is judged on, by the claim's id."""
    with store.read() as connection:
        number = require(connection, experiment)
        rows = trials_of(connection, number)
        finals = finals_of(connection, members_of(number))
        return {claim.id: _rows_for(connection, number, claim, rows, finals) for claim in claims}


def _rows_for(
    connection: Connection,
    number: int,
    claim: Claim,
    rows: Sequence[TrialRow],
    finals: Mapping[int, Mapping[str, Any]],
) -> list[Row]:
    layers = _layers_of(claim, rows)
    values: dict[int, dict[int, float | None]] = {row.id: {} for row in rows}
    series: dict[int, dict[int, Series]] = {row.id: {} for row in rows}
    for layer in layers:
        if claim.needs_series:
            frame = series_of(connection, members_of(number), [claim.metric], layer or None)
            for (key,), part in frame.group_by("trial_id", maintain_order=True):
                found = Series(part["step"].to_list(), part["time"].to_list(), part[claim.metric].to_list())
                series[int(str(key))][layer] = found
        else:
            found_values = _values(connection, number, claim.metric, layer, claim.reduction, finals)
            for key, value in found_values.items():
                values[key][layer] = value
    return [
        Row(
            trial=trial_id(row.id),
            state=row.state,
            lookup=lookup_of(row, finals.get(row.id, {})),
            final={name: v for name, v in finals.get(row.id, {}).items() if not isinstance(v, str)},
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
