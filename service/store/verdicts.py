"""The verdicts on an experiment's claims, and the rows they are judged on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Connection

from nfa_kernels import names
from service.questions.judging import Claim, Row, Series, judge, parse_claims
from service.store.experiments import Experiment, require
from service.store.finals import finals_of
from service.store.ids import trial_id
from service.store.members import keys_of
from service.store.series import reduced_values, series_of, times_of
from service.store.session import Store
from service.store.trial_rows import TrialRow, lookup_of, trials_of


def judged(store: Store, experiment: Experiment) -> list[dict[str, Any]]:
    """All claims of an experiment, judged; see `questions.judging.Verdict`."""
    claims = parse_claims(experiment.claims)
    return [asdict(judge(claim, rows)) for claim, rows in _each(store, experiment.id, claims)]


def claim_rows(store: Store, experiment: str, claims: Sequence[Claim]) -> dict[str, list[Row]]:
    """What each claim is judged on, by the claim's id."""
    return {claim.id: rows for claim, rows in _each(store, experiment, claims)}


def _each(store: Store, experiment: str, claims: Sequence[Claim]) -> Iterator[tuple[Claim, list[Row]]]:
    """Each claim with what it is judged on, of one moment of the store; the rows of one claim at a time."""
    with store.read() as connection:
        number = require(connection, experiment)
        if not claims:
            return
        rows = trials_of(connection, number)
        finals = finals_of(connection, keys_of([number]))
        numeric = {
            key: {name: value for name, value in values.items() if not isinstance(value, str)}
            for key, values in finals.items()
        }
        needs_times = any(claim.needs_series for claim in claims)
        times = times_of(connection, keys_of([number])).sort("trial_id", "step") if needs_times else None
        for claim in claims:
            yield claim, _rows_for(connection, number, claim, rows, finals, numeric, times)


def _rows_for(
    connection: Connection,
    number: int,
    claim: Claim,
    rows: Sequence[TrialRow],
    finals: Mapping[int, Mapping[str, Any]],
    numeric: Mapping[int, Mapping[str, Any]],
    times: pl.DataFrame | None,
) -> list[Row]:
    layers = _layers_of(claim, rows)
    values: dict[int, dict[int, float | None]] = {row.id: {} for row in rows}
    series: dict[int, dict[int, Series]] = {row.id: {} for row in rows}
    for layer in layers:
        if claim.needs_series and times is not None:
            for key, found in _timed(series_of(connection, keys_of([number]), claim.metric, layer), times):
                series[key][layer] = found
        else:
            found_values = reduced_values(connection, keys_of([number]), claim.metric, layer, claim.reduction)
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


def _timed(frame: pl.DataFrame, times: pl.DataFrame) -> Iterator[tuple[int, Series]]:
    """The series of each trial with its times, as views of columns: lists of Python's numbers take four times as much.

    Args:
        frame: trial_id, step and a metric, by trial and step.
        times: trial_id, step and time of every measured step, in the same order.
    """
    if frame.is_empty():
        return
    keys, steps, values = (frame[:, place].to_numpy() for place in range(3))
    width = int(steps.max(initial=0)) + 1
    at = np.searchsorted(times["trial_id"].to_numpy() * width + times["step"].to_numpy(), keys * width + steps)
    columns: tuple[Any, ...] = (steps, times["time"].to_numpy()[at], values)
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        yield int(keys[start]), Series(*(column[start:end] for column in columns))


def _layers_of(claim: Claim, rows: Sequence[TrialRow]) -> list[int]:
    if claim.metric in names.NETWORK_METRICS:
        return [0]
    if isinstance(claim.layer, int):
        return [claim.layer]
    return sorted({layer for row in rows for layer in row.settings["measure"]["layers"]})


def _measured(claim: Claim, row: TrialRow, layers: Sequence[int]) -> list[int]:
    return [layer for layer in layers if layer == 0 or layer in row.settings["measure"]["layers"]]
