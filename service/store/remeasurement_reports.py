"""What was measured of kept weights, written beside what training measured; guard, numbers and ends in one transaction.

A cell that holds a number keeps it, unless it was measured by another version of the metric's definition: then the new
number takes its place, and the request says of which metrics.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, Table, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.states import TrialState
from service.store.incarnation import dispatching
from service.store.keys import among
from service.store.measured_models import (
    LAYER_COLUMNS,
    NETWORK_COLUMNS,
    NETWORK_LAYER,
    final,
    layer_measurement,
    measurement,
    parametrised_measurement,
)
from service.store.models import remeasured_trial, remeasurement, trial
from service.store.partitions import cover
from service.store.remeasured import remeasured
from service.store.remeasurement_leases import Held, hold
from service.store.session import Store, utc_now

_KEYS = ("lane", "step", "time", "layer")


class Part(NamedTuple):
    """Rows as a trainer's block has them: of the network, of layers, and by name."""

    network: pa.RecordBatch
    layers: pa.RecordBatch
    parametrised: pa.RecordBatch


@dataclass(frozen=True)
class WeightsReport:
    """Everything that was measured of a stack of kept weights."""

    held: tuple[Held, ...]
    """(key of the row, attempt) by lane."""
    trials: tuple[int, ...]
    """By lane."""
    open: frozenset[int]
    """Lanes that were measured; rows of others are dropped."""
    parts: tuple[Part, ...]


class _Value(NamedTuple):
    """One number; the network's have layer 0 and a time."""

    trial: int
    step: int
    layer: int
    value: float | None
    time: float | None


def record_weights(store: Store, report: WeightsReport) -> frozenset[int]:
    """Write what was measured and end the rows of the open lanes that are still held; answers those that are not."""
    held = [report.held[lane] for lane in sorted(report.open)]
    if not held:
        return frozenset()
    table = remeasured_trial.c
    with dispatching(store) as connection:
        keys = sorted({report.trials[lane] for lane in report.open})
        columns = (trial.c.id, trial.c.attempt, trial.c.state, trial.c.last_step, trial.c.provenance)
        query = (
            select(*columns)
            .where(among(connection, trial.c.id, keys))
            .order_by(trial.c.id)
            .with_for_update(key_share=True)
        )
        trials = {row.id: row for row in connection.execute(query)}
        kept = frozenset(hold(connection, held))
        jobs = connection.execute(
            select(table.id, table.trial_id, table.trial_attempt, remeasurement.c.definitions)
            .join(remeasurement, remeasurement.c.id == table.remeasurement_id)
            .where(among(connection, table.id, kept))
        ).all()
        sound = {job.id for job in jobs if _is_same(trials.get(job.trial_id), job.trial_attempt)}
        lanes = {lane: report.trials[lane] for lane in sorted(report.open) if report.held[lane][0] in sound}
        cover(connection, list(lanes.values()))
        definitions = jobs[0].definitions if jobs else {}
        stale = _stale(connection, {key: trials[key] for key in lanes.values()}, definitions)
        last_steps = {key: trials[key].last_step for key in lanes.values()}
        for part in report.parts:
            for name, values in _values(part, lanes):
                _write(connection, name, values, stale.get(name, frozenset()), last_steps)
        _end(connection, [(job.id, job.trial_id) for job in jobs if job.id in sound], stale)
        again = kept - sound
        if again:
            error = "its trial was trained again meanwhile: ask once more when that has ended"
            _set(connection, again, state="cancelled", error=error)
    return frozenset(key for key, _ in held) - kept


def _is_same(row: Any, attempt: int) -> bool:
    """Whether a trial is as it was when its weights were asked about."""
    return row is not None and row.attempt == attempt and row.state in (TrialState.COMPLETED, TrialState.DIVERGED)


def _stale(
    connection: Connection, trials: Mapping[int, Any], definitions: Mapping[str, int]
) -> dict[str, frozenset[int]]:
    """Metric -> trials whose numbers of it were measured by another version of its definition."""
    before = remeasured(connection, select(trial.c.id).where(among(connection, trial.c.id, trials)))
    found: dict[str, set[int]] = defaultdict(set)
    for key, row in trials.items():
        of_training = (row.provenance or {}).get("definitions", {})
        again = before[key].definitions if key in before else {}
        for name, version in definitions.items():
            if again.get(name, of_training.get(name, 1)) != version:
                found[name].add(key)
    return {name: frozenset(keys) for name, keys in found.items()}


def _values(part: Part, lanes: Mapping[int, int]) -> list[tuple[str, list[_Value]]]:
    """Metric -> its numbers, of these lanes (lane -> trial)."""
    found = [
        (name, _rows(batch, lanes, batch.column(name)))
        for batch in (part.network, part.layers)
        for name in batch.schema.names
        if name not in _KEYS
    ]
    families = part.parametrised.column("name").dictionary_encode()
    for place, name in enumerate(families.dictionary.to_pylist()):
        own = part.parametrised.filter(pa.array(families.indices.to_numpy() == place))
        found.append((name, _rows(own, lanes, own.column("value"))))
    return found


def _rows(batch: pa.RecordBatch, lanes: Mapping[int, int], column: pa.Array) -> list[_Value]:
    length = batch.num_rows
    times = batch.column("time").to_pylist() if "time" in batch.schema.names else [None] * length
    layers = batch.column("layer").to_pylist() if "layer" in batch.schema.names else [NETWORK_LAYER] * length
    numbers = np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    values = [value if finite else None for value, finite in zip(numbers.tolist(), np.isfinite(numbers), strict=True)]
    rows = zip(batch.column("lane").to_pylist(), batch.column("step").to_pylist(), layers, values, times, strict=True)
    return [_Value(lanes[lane], step, layer, value, time) for lane, step, layer, value, time in rows if lane in lanes]


def _write(
    connection: Connection,
    name: str,
    values: Sequence[_Value],
    stale: Collection[int],
    last_steps: Mapping[int, int | None],
) -> None:
    """Write one metric's numbers, of stale ones over what was there."""
    for is_replaced in (False, True):
        some = [one for one in values if (one.trial in stale) is is_replaced]
        if not some:
            continue
        if name in NETWORK_COLUMNS:
            rows = [{"trial_id": one.trial, "step": one.step, "time": one.time, name: one.value} for one in some]
            _merge(connection, measurement, name, rows, is_replaced=is_replaced)
        elif name in LAYER_COLUMNS:
            rows = [{"trial_id": one.trial, "step": one.step, "layer": one.layer, name: one.value} for one in some]
            _merge(connection, layer_measurement, name, rows, is_replaced=is_replaced)
        else:
            rows = [
                {"trial_id": one.trial, "step": one.step, "layer": one.layer, "name": name, "value": one.value}
                for one in some
            ]
            _merge(connection, parametrised_measurement, "value", rows, is_replaced=is_replaced)
        if name in final.c:
            last = [one for one in some if one.step == last_steps[one.trial]]
            _finals(connection, name, last, is_replaced=is_replaced)


def _merge(
    connection: Connection, table: Table, column: str, rows: Sequence[dict[str, Any]], *, is_replaced: bool
) -> None:
    """Insert numbers, or put them into rows that are there."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    # a partitioned table has no key to tell conflicts by; the trials are held, so that nobody comes between
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))
    cell, given = table.c[column], bindparam("given", type_=table.c[column].type)
    keys = [key.name for key in table.primary_key.columns]
    here = (table.c[name] == bindparam(f"of_{name}") for name in keys)
    query = update(table).where(*here, cell.is_distinct_from(given) if is_replaced else cell.is_(None))
    told = [
        {"given": row[column]} | {f"of_{name}": row[name] for name in keys}
        for row in rows
        if is_replaced or row[column] is not None
    ]
    if told:
        connection.execute(query.values({column: given}), told)


def _finals(connection: Connection, name: str, values: Sequence[_Value], *, is_replaced: bool) -> None:
    """The numbers at the last step beside those that lists sort by; of layers those of the first measured one."""
    if not values:
        return
    given = bindparam("given", type_=final.c[name].type)
    here = final.c.trial_id == bindparam("key")
    if name in LAYER_COLUMNS:
        here &= final.c.layer == bindparam("at_layer")
    query = update(final).where(here).values({name: given if is_replaced else func.coalesce(final.c[name], given)})
    layers = name in LAYER_COLUMNS
    rows = [{"given": one.value, "key": one.trial} | ({"at_layer": one.layer} if layers else {}) for one in values]
    connection.execute(query, rows)


def _end(connection: Connection, jobs: Sequence[tuple[int, int]], stale: Mapping[str, Collection[int]]) -> None:
    """Note that rows (key, trial) are done, and which metrics' numbers were replaced."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for key, of in jobs:
        groups[tuple(sorted(name for name, trials in stale.items() if of in trials))].append(key)
    for replaced, keys in groups.items():
        _set(connection, keys, state="completed", replaced=list(replaced) or None)


def _set(connection: Connection, keys: Collection[int], **values: Any) -> None:
    """End rows that are held in this transaction."""
    ended = {"owner": None, "lease_until": None, "lease_clock": None, "ended_at": utc_now(), **values}
    connection.execute(update(remeasured_trial).where(among(connection, remeasured_trial.c.id, keys)).values(**ended))
