"""What dispatchers report of trials they hold, blocks of measurements and ends; guard and rows in one transaction."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, bindparam, update

from service.states import TrialState
from service.store import fence, holders
from service.store.attempts import close_attempts
from service.store.checkpoints import drop_checkpoints, put_checkpoints
from service.store.incarnation import dispatching
from service.store.kept_states import put_states
from service.store.keys import among
from service.store.measurements import delete_measurements, insert_finals, insert_measurements
from service.store.models import trial
from service.store.session import Store, lease_clock, utc_now
from service.store.weights import insert_weights

LINEAGE = "continued_from"
"""Of provenance, which trials of a stack share but for this."""


@dataclass(frozen=True)
class End:
    """How a trial ended; `step` is that of its last row, null when it has none."""

    trial_id: int
    state: str
    step: int | None
    error: str | None
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """A block of measurements of one stack."""

    trials: tuple[tuple[int, int], ...]
    """(trial id, attempt) by lane."""
    open: frozenset[int]
    """Lanes that are still running or end in this block; rows of others are dropped."""
    is_first: bool
    """The first report of these attempts: rows of earlier attempts beyond their checkpoint are deleted first."""
    network: pa.RecordBatch
    layers: pa.RecordBatch
    parametrised: pa.RecordBatch
    ends: tuple[End, ...]
    weights: tuple[tuple[int, int, bytes], ...] = ()
    """(lane, step, file) of weights to keep."""
    checkpoints: tuple[tuple[int, int, bytes], ...] = ()
    """(lane, step, file): where lanes would go on, with the rows up to here."""
    states: tuple[tuple[int, int, bytes], ...] = ()
    """(lane, step, file): with what lanes that keep it ended."""
    resumed_step: int = -1
    """Of a first report: the step of the checkpoint from which these attempts went on; -1 without one."""
    is_repeat: bool = False
    """An earlier call with this report was not answered, and may have been committed."""


def record(store: Store, report: Report, lease_seconds: float) -> frozenset[int]:
    """Commit a block: write the rows and end what ended, for the lanes still held; their holder's leases hold on.

    Returns:
        Trials of open lanes that are no longer the holder's: nothing of theirs was written, drop them.
    """
    return record_all(store, [report], lease_seconds)[0]


def record_all(store: Store, reports: Sequence[Report], lease_seconds: float) -> list[frozenset[int]]:
    """Commit blocks of one dispatcher together, all of them or none; those of one stack in their order.

    Returns:
        For each block what `record` answers.
    """
    held = [[report.trials[lane] for lane in sorted(report.open)] for report in reports]
    # a stack that was taken from us and came back may have blocks on their way under both numbers
    latest = dict(sorted(pair for own in held for pair in own))
    if not latest:
        return [frozenset() for _ in reports]
    with dispatching(store) as connection:
        kept = frozenset((key, latest[key]) for key in fence.hold(connection, latest.items()))
        now, clock = lease_clock(connection)
        for owner in holders.owners_of(connection, [key for key, _ in sorted(kept)[:1]]):
            holders.extend_if_late(connection, owner, lease_seconds, now, clock)
        ours = [_kept(report, kept) for report in reports]
        for report in ours:
            _delete_rows_before(connection, report)
        for report in _joined(ours):
            _write(connection, report)
    return [frozenset(pair[0] for pair in own if pair not in kept) for own in held]


def _kept(report: Report, kept: Collection[tuple[int, int]]) -> Report:
    """The report of those open lanes alone that are still held under its attempts."""
    lanes = frozenset(lane for lane in report.open if report.trials[lane] in kept)
    keys = {report.trials[lane][0] for lane in lanes}
    return replace(report, open=lanes, ends=tuple(end for end in report.ends if end.trial_id in keys))


def _delete_rows_before(connection: Connection, report: Report) -> None:
    """Delete what earlier attempts, or an earlier call with this report, may have written for its open lanes."""
    held = [report.trials[lane] for lane in sorted(report.open)]
    if report.is_first:
        # nobody has written for a trial that nobody had before
        before = [key for key, attempt in held if attempt > 1 or report.is_repeat]
        if before:
            delete_measurements(connection, before, report.resumed_step + 1)
    elif report.is_repeat:
        delete_measurements(connection, [key for key, _ in held], _first_step(report))


def _joined(reports: Sequence[Report]) -> list[Report]:
    """Reports with equal columns as one, whose lanes are the first one's, then the second one's, and so on.

    A statement for the rows of many blocks costs hardly more than one for a block's.
    """
    groups: dict[Any, list[Report]] = {}
    for report in reports:
        columns = (report.network.schema, report.layers.schema, report.parametrised.schema)
        groups.setdefault(tuple(map(str, columns)), []).append(report)
    return [_join(group) if len(group) > 1 else group[0] for group in groups.values()]


def _join(group: Sequence[Report]) -> Report:
    starts = list(itertools.accumulate((len(report.trials) for report in group), initial=0))[:-1]
    each = list(zip(starts, group, strict=True))

    def rows(name: str) -> pa.RecordBatch:
        return pa.concat_batches([_shifted(getattr(report, name), start) for start, report in each])

    def files(name: str) -> tuple[tuple[int, int, bytes], ...]:
        return tuple((start + lane, *rest) for start, report in each for lane, *rest in getattr(report, name))

    return Report(
        tuple(pair for report in group for pair in report.trials),
        frozenset(start + lane for start, report in each for lane in report.open),
        group[0].is_first,
        rows("network"),
        rows("layers"),
        rows("parametrised"),
        tuple(end for report in group for end in report.ends),
        files("weights"),
        files("checkpoints"),
        files("states"),
    )


def _shifted(batch: pa.RecordBatch, start: int) -> pa.RecordBatch:
    """The batch with lanes that are numbered from `start`."""
    place = batch.schema.get_field_index("lane")
    lane = (batch.column(place).to_numpy() + start).astype(np.int32)
    return batch.set_column(place, pa.field("lane", pa.int32()), pa.array(lane))


def _write(connection: Connection, report: Report) -> None:
    """Write rows and ends of the open lanes."""
    lanes = {lane: report.trials[lane][0] for lane in sorted(report.open)}
    insert_measurements(connection, lanes, report.network, report.layers, report.parametrised)
    insert_weights(connection, lanes, report.weights)
    put_checkpoints(connection, lanes, report.checkpoints)
    put_states(connection, lanes, report.states)
    if report.ends:
        steps = {end.trial_id: end.step for end in report.ends}
        insert_finals(connection, lanes, steps, report.network, report.layers)
        _finish(connection, report.ends)


def _first_step(report: Report) -> int:
    """The first step of a report's rows; the network's rows name every measured step."""
    steps = report.network.column("step").to_numpy()
    return min([step for _, step, _ in report.weights] + ([int(steps.min())] if len(steps) else []), default=1 << 62)


def fail(store: Store, trial_id: int, attempt: int, end: End, *, charge: bool = True) -> frozenset[int]:
    """End a trial that could not be trained; what earlier blocks measured stays."""
    with dispatching(store) as connection:
        if not fence.hold(connection, [(trial_id, attempt)]):
            return frozenset({trial_id})
        charged = trial.c.failures + int(charge)
        connection.execute(update(trial).where(trial.c.id == trial_id).values(failures=charged))
        _finish(connection, [end])
    return frozenset()


def _finish(connection: Connection, ends: Sequence[End]) -> None:
    """Move trials, held in this transaction, to their end."""
    groups: dict[tuple[Any, ...], list[End]] = {}
    for end in ends:
        groups.setdefault((end.state, end.step, end.error, end.provenance.get("ended")), []).append(end)
    now = utc_now()
    for (state, step, error, _), members in groups.items():
        keys = [end.trial_id for end in members]
        close_attempts(connection, keys, state, error)
        drop_checkpoints(connection, keys)
        connection.execute(
            update(trial)
            .where(among(connection, trial.c.id, keys))
            .values(
                state=TrialState(state),
                last_step=step,
                error=error,
                provenance={name: said for name, said in members[0].provenance.items() if name != LINEAGE},
                ended_at=now,
                owner=None,
                lease_until=None,
                lease_clock=None,
                queued_for=None,
            )
        )
    own = [{"key": end.trial_id, "own": dict(end.provenance)} for end in ends if LINEAGE in end.provenance]
    if own:
        # what each went on from is its own
        by_key = update(trial).where(trial.c.id == bindparam("key"))
        connection.execute(by_key.values(provenance=bindparam("own")), own)
