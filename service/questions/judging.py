"""Claims are judged here. Pure.

A claim first picks trials (`where`), then leaves out those that cannot speak to it: diverged ones, and those that its
gate stops, because a collapsed network is aligned trivially. It says how many it left out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.questions import filters
from service.questions.brackets import Axis, Line, Tolerance, follow
from service.questions.claim_fits import decay_rate, log_log_slope, log_points, parse_product
from service.questions.claim_forms import (
    BoundaryFit,
    Claim,
    RateFit,
    SlopeFit,
    parse_claims,
    parse_condition,
    read_claims,
)
from service.questions.layers import Layer
from service.states import TrialState

__all__ = ["Claim", "Row", "Series", "Verdict", "judge", "parse_claims", "read_claims"]


@dataclass(frozen=True, slots=True)
class Series:
    """A metric of one trial, ordered by step; None, or NaN where the numbers are arrays, where undefined."""

    steps: Sequence[int]
    times: Sequence[float]
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """What judging a claim needs to know of a trial."""

    trial: str
    state: TrialState
    lookup: filters.Lookup
    """Settings, seed, state and final.METRIC[layer] by path; a missing metric was not measured."""
    final: Mapping[str, float | None]
    """Final values by the names of a trial's `final`; only what was measured is in it."""
    values: Mapping[Any, float | None] = field(default_factory=dict)
    """Layer, as the claim calls it -> its metric reduced; layer 0 for network metrics. Measured layers only."""
    series: Mapping[Any, Series] = field(default_factory=dict)
    """The same as whole series, for claims that need them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a claim holds, and the value that decides."""

    id: str
    says: str
    holds: bool | None
    worst: float | None
    threshold: str
    worst_trial: str | None
    trials: int
    left_out: Mapping[str, int]
    worst_group: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Judged:
    """One number held against the threshold."""

    value: float | None
    trial: str | None
    group: Mapping[str, Any] | None = None


def fit_points(claim: Claim, rows: Sequence[Row]) -> Iterator[tuple[dict[str, Any], list[tuple[float, float]]]]:
    """Of a claim about a slope: each group, and the logarithms that its line is fitted to; those that exist."""
    assert isinstance(claim.fit, SlopeFit)
    for key, pairs in _pairs(claim.fit, _speaking(claim, rows)):
        yield key, log_points(pairs, claim.fit.transform)


def fit_lines(claim: Claim, rows: Sequence[Row]) -> Iterator[tuple[dict[str, Any], Line]]:
    """Of a claim about a boundary: each group, and what is known along its setting."""
    assert isinstance(claim.fit, BoundaryFit)
    yield from _lines(claim.fit, _speaking(claim, rows))


def fitted_rates(claim: Claim, rows: Sequence[Row]) -> list[float | None]:
    """Of a claim about a rate: that of each trial and layer."""
    assert isinstance(claim.fit, RateFit)
    return [one.value for one in _rates(claim.fit, _speaking(claim, rows))]


def _speaking(claim: Claim, rows: Sequence[Row]) -> list[tuple[Row, list[Layer]]]:
    """Completed trials that the claim is about, with the layers that its gate lets through."""
    where = filters.parse(claim.where)
    finished = [row for row in rows if row.state == TrialState.COMPLETED and filters.matches(where, row.lookup)]
    return [(row, layers) for row in finished if (layers := _open_layers(claim, row))]


def judge(claim: Claim, rows: Sequence[Row]) -> Verdict:
    """The verdict on a claim over all trials of an experiment."""
    where = filters.parse(claim.where)
    chosen = [row for row in rows if filters.matches(where, row.lookup)]
    unfinished = any(row.state not in (TrialState.COMPLETED, TrialState.DIVERGED) for row in chosen)
    finished = [row for row in chosen if row.state == TrialState.COMPLETED]
    diverged = sum(row.state == TrialState.DIVERGED for row in chosen)
    speaking = [(row, layers) for row in finished if (layers := _open_layers(claim, row))]
    judged = list(_judged(claim, speaking))
    worst = _worst(claim, judged)
    return Verdict(
        id=claim.id,
        says=claim.says,
        holds=None if unfinished or not judged else _holds(claim, judged),
        worst=worst.value if worst else None,
        threshold=claim.threshold,
        worst_trial=worst.trial if worst else None,
        trials=len(speaking),
        left_out={"gate": len(finished) - len(speaking), "diverged": diverged},
        worst_group=worst.group if worst else None,
    )


def _open_layers(claim: Claim, row: Row) -> list[Layer]:
    """Layers (0 for the network) of a trial that the claim is about and that its gate lets through."""
    known = row.series if claim.needs_series else row.values
    if claim.layers == "network":
        layers = [0]
    elif claim.layers == "all":
        layers = sorted(known, key=str)
    elif isinstance(claim.layers, str):
        # a network without a layer of this name is not what the claim is about
        layers = [claim.layers] if claim.layers in known else []
    else:
        layers = [claim.layers]
    return [layer for layer in layers if _passes_gate(claim, row, layer)]


def _passes_gate(claim: Claim, row: Row, layer: Layer) -> bool:
    """Whether the final values satisfy the gate; a condition on what was not measured does not count."""
    if claim.gate == "none":
        return True
    for metric, condition in claim.gate.items():
        key = f"{metric}[{layer}]" if f"{metric}[{layer}]" in row.final else metric
        if key in row.final and not parse_condition(condition).holds(row.final[key]):
            return False
    return True


def _judged(claim: Claim, rows: Sequence[tuple[Row, list[Layer]]]) -> Iterator[_Judged]:
    """Every number that is held against the threshold."""
    if isinstance(claim.fit, RateFit):
        yield from _rates(claim.fit, rows)
    elif isinstance(claim.fit, BoundaryFit):
        for key, line in _lines(claim.fit, rows):
            # several changes are no one value, and neither is none
            yield _Judged(line.brackets[0].value if len(line.brackets) == 1 else None, None, key)
    elif claim.fit is not None:
        yield from _slopes(claim.fit, rows)
    elif claim.group is not None:
        for key, members in _grouped(claim.group.by, rows):
            values = [value for row, layers in members for value in _values(row, layers) if value is not None]
            yield _Judged(_aggregate(claim.group.agg, values), None, key)
    else:
        for row, layers in rows:
            yield from (_Judged(value, row.trial) for value in _values(row, layers))


def _values(row: Row, layers: Sequence[Layer]) -> list[float | None]:
    return [_defined(row.values.get(layer)) for layer in layers]


def _rates(fit: RateFit, rows: Sequence[tuple[Row, list[Layer]]]) -> Iterator[_Judged]:
    for row, layers in rows:
        scale = parse_product(fit.divide_by)(row.lookup) if fit.divide_by else 1.0
        for layer in layers:
            series = row.series.get(layer)
            if series is None:
                yield _Judged(None, row.trial)
                continue
            times = series.times if fit.against == "time" else [float(step) for step in series.steps]
            rate = decay_rate(times, series.values, start=fit.start, above=fit.above)
            yield _Judged(_defined(rate / scale) if rate is not None and scale else None, row.trial)


def _lines(fit: BoundaryFit, rows: Sequence[tuple[Row, list[Layer]]]) -> Iterator[tuple[dict[str, Any], Line]]:
    """Each group, once per layer, with where along the setting the condition changes."""
    condition = parse_condition(fit.condition)
    for key, pairs in _pairs(fit, rows):
        held: dict[float, list[bool]] = {}
        for x, value in pairs:
            if isinstance(x, int | float):
                held.setdefault(float(x), []).append(condition.holds(value))
        verdicts = {x: sum(some) >= fit.share * len(some) for x, some in held.items()}
        yield key, follow(verdicts, Axis("log" if min(held, default=0.0) > 0 else "linear", Tolerance(0.0)))


def _slopes(fit: SlopeFit, rows: Sequence[tuple[Row, list[Layer]]]) -> Iterator[_Judged]:
    for key, pairs in _pairs(fit, rows):
        yield _Judged(log_log_slope(pairs, fit.transform), None, key)


def _pairs(
    fit: SlopeFit | BoundaryFit, rows: Sequence[tuple[Row, list[Layer]]]
) -> Iterator[tuple[dict[str, Any], list[tuple[Any, float | None]]]]:
    """Each group, once per layer, with the setting and the value of every trial."""
    for key, members in _grouped(fit.by, rows):
        for layer in sorted({layer for _, layers in members for layer in layers}, key=str):
            pairs = [(row.lookup(fit.x), _defined(row.values.get(layer))) for row, layers in members if layer in layers]
            yield key, pairs


def _grouped(
    by: Sequence[str], rows: Sequence[tuple[Row, list[Layer]]]
) -> Iterator[tuple[dict[str, Any], list[tuple[Row, list[Layer]]]]]:
    """Trials that agree in the paths, in order of appearance."""
    groups: dict[str, tuple[dict[str, Any], list[tuple[Row, list[Layer]]]]] = {}
    for row, layers in rows:
        key = {path: row.lookup(path) for path in by}
        groups.setdefault(repr(key), (key, []))[1].append((row, layers))
    yield from groups.values()


def _aggregate(agg: str, values: Sequence[float]) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    match agg:
        case "min":
            return ordered[0]
        case "max":
            return ordered[-1]
        case "median":
            return (ordered[middle] + ordered[~middle]) / 2
    return math.fsum(ordered) / len(ordered)


def _lack(claim: Claim, value: float | None) -> float:
    """How far a value is from the threshold: the larger, the worse."""
    if claim.fit is None:
        return parse_condition(claim.threshold).lack(value)
    low, high = claim.fit.between
    return math.inf if value is None else max(low - value, value - high)


def _satisfies(claim: Claim, value: float | None) -> bool:
    if claim.fit is None:
        return parse_condition(claim.threshold).holds(value)
    return _lack(claim, value) <= 0


def _holds(claim: Claim, judged: Sequence[_Judged]) -> bool:
    found = (_satisfies(claim, one.value) for one in judged)
    return any(found) if claim.any_trial is not None else all(found)


def _worst(claim: Claim, judged: Sequence[_Judged]) -> _Judged | None:
    """The value that decides: furthest from the threshold, or for any_trial the nearest to it."""
    choose = min if claim.any_trial is not None else max
    return choose(judged, key=lambda one: _lack(claim, one.value), default=None)


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
