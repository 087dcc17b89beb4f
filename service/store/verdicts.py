"""The verdicts on an experiment's claims, and the rows they are judged on."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from sqlalchemy import Connection

from nfa_kernels import names
from service.grid.reading import layer_number
from service.questions.judging import Claim, Row, Series, judge, parse_claims
from service.store.experiments import Experiment, require
from service.store.finals import finals_of
from service.store.ids import trial_id
from service.store.keys import listed
from service.store.layer_names import Layer
from service.store.members import keys_of
from service.store.remeasured import remeasured
from service.store.series import reduced_values, series_of, times_of
from service.store.session import Store
from service.store.trial_rows import TrialRow, lookup_of, trials_of

_TRIALS_AT_ONCE: Final = 2_000


class _Clock(NamedTuple):
    """When every measured step of many trials was."""

    width: int
    """More than any step: trial_id * width + step says which step of which trial."""
    keys: np.ndarray
    """Those numbers, increasing."""
    times: np.ndarray


def judged(store: Store, experiment: Experiment, *, is_own: bool = False) -> list[dict[str, Any]]:
    """All claims of an experiment, judged; see `questions.judging.Verdict`.

    With `is_own`, `layer: all` means the layers that the grid measures, without those that were measured again alone.
    """
    claims = parse_claims(experiment.claims)
    with store.read() as connection:
        number = require(connection, experiment.id)
        return [asdict(judge(claim, rows)) for claim, rows in _each(connection, number, claims, is_own=is_own)]


def claim_rows(store: Store, experiment: str, claims: Sequence[Claim]) -> dict[str, list[Row]]:
    """What each claim is judged on, by the claim's id, of one moment of the store. Raises NotFound."""
    with store.read() as connection:
        return claim_rows_in(connection, require(connection, experiment), claims)


def claim_rows_in(connection: Connection, number: int, claims: Sequence[Claim]) -> dict[str, list[Row]]:
    """The same, in a reading transaction."""
    return {claim.id: rows for claim, rows in _each(connection, number, claims)}


def _each(
    connection: Connection, number: int, claims: Sequence[Claim], *, is_own: bool = False
) -> Iterator[tuple[Claim, list[Row]]]:
    """Each claim with what it is judged on; the rows of one claim at a time."""
    if not claims:
        return
    rows = trials_of(connection, number)
    measured_again = {} if is_own else remeasured(connection, keys_of([number]))
    again = {key: one.layers for key, one in measured_again.items()}
    finals = _finals(connection, rows, claims)
    numeric = {
        key: {name: value for name, value in values.items() if not isinstance(value, str)}
        for key, values in finals.items()
    }
    needs_times = any(claim.needs_series for claim in claims)
    clock = _clock_of(times_of(connection, keys_of([number]))) if needs_times else None
    for claim in claims:
        yield claim, _rows_for(connection, number, claim, rows, finals, numeric, clock, again)


def _finals(connection: Connection, rows: Sequence[TrialRow], claims: Sequence[Claim]) -> dict[int, dict[str, Any]]:
    """Final values by trial, of those metrics alone that some claim names: read and dropped a few trials at a time."""
    told = " ".join(f"{claim.where} {claim.gate} {claim.group} {claim.fit}" for claim in claims)
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(rows), _TRIALS_AT_ONCE):
        keys = [row.id for row in rows[start : start + _TRIALS_AT_ONCE]]
        for key, values in finals_of(connection, listed(connection, keys)).items():
            found[key] = {name: value for name, value in values.items() if name.partition("[")[0] in told}
    return found


def _rows_for(
    connection: Connection,
    number: int,
    claim: Claim,
    rows: Sequence[TrialRow],
    finals: Mapping[int, Mapping[str, Any]],
    numeric: Mapping[int, Mapping[str, Any]],
    clock: _Clock | None,
    again: Mapping[int, Collection[int]],
) -> list[Row]:
    layers = _layers_of(claim, rows, again)
    values: dict[int, dict[Layer, float | None]] = {row.id: {} for row in rows}
    series: dict[int, dict[Layer, Series]] = {row.id: {} for row in rows}
    for layer in layers:
        if claim.needs_series and clock is not None:
            for key, found in _timed(series_of(connection, keys_of([number]), claim.metric, layer), clock):
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
            final=_called(claim, row, numeric.get(row.id, {})),
            values={layer: values[row.id].get(layer) for layer in _measured(row, layers, again.get(row.id, ()))},
            series=series[row.id],
        )
        for row in rows
    ]


def _clock_of(times: pl.DataFrame) -> _Clock:
    """From trial_id, step and time of every measured step."""
    steps = times["step"].to_numpy()
    width = int(steps.max(initial=0)) + 1
    keys = times["trial_id"].to_numpy() * width + steps
    order = np.argsort(keys)
    return _Clock(width, keys[order], times["time"].to_numpy()[order])


def _timed(frame: pl.DataFrame, clock: _Clock) -> Iterator[tuple[int, Series]]:
    """The series of each trial with its times, as views of columns: lists of Python's numbers take four times as much.

    Args:
        frame: trial_id, step and a metric, by trial and step.
        clock: of the same trials.
    """
    if frame.is_empty():
        return
    keys, steps, values = (frame[:, place].to_numpy() for place in range(3))
    columns: tuple[Any, ...] = (steps, clock.times[np.searchsorted(clock.keys, keys * clock.width + steps)], values)
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        yield int(keys[start]), Series(*(column[start:end] for column in columns))


def _layers_of(claim: Claim, rows: Sequence[TrialRow], again: Mapping[int, Collection[int]]) -> list[Layer]:
    """Layers that a claim is about; all that some trial measured, or that were measured again, where it says so."""
    if claim.metric in names.NETWORK_METRICS:
        return [0]
    if claim.layer != "all":
        return [claim.layer]
    return sorted({layer for row in rows for layer in (*row.settings["measure"]["layers"], *again.get(row.id, ()))})


def _measured(row: TrialRow, layers: Sequence[Layer], again: Collection[int]) -> list[Layer]:
    known = (*row.settings["measure"]["layers"], *again)
    return [layer for layer in layers if layer == 0 or layer_number(row.settings, layer) in known]


def _called(claim: Claim, row: TrialRow, final: Mapping[str, Any]) -> Mapping[str, Any]:
    """Final values as a claim calls them: those of a layer that it names by that name too."""
    if not isinstance(claim.layer, str) or claim.layer == "all":
        return final
    end = f"[{layer_number(row.settings, claim.layer)}]"
    called = {f"{name.removesuffix(end)}[{claim.layer}]": final[name] for name in final if name.endswith(end)}
    return {**final, **called}
