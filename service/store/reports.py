"""What dispatchers report of trials they hold, blocks of measurements and ends; guard and rows in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, bindparam, update

from service.states import TrialState
from service.store import fence
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
    """Commit a block: prolong the leases, write the rows and end what ended, for the lanes still held.

    Returns:
        Trials of open lanes that are no longer the holder's: nothing of theirs was written, drop them.
    """
    held = [report.trials[lane] for lane in sorted(report.open)]
    if not held:
        return frozenset()
    with dispatching(store) as connection:
        now, clock = lease_clock(connection)
        kept = fence.prolong(connection, held, now + lease_seconds, clock)
        lanes = {lane: report.trials[lane][0] for lane in sorted(report.open) if report.trials[lane][0] in kept}
        if report.is_first:
            # nobody has written for a trial that nobody had before
            before = {key for key, attempt in held if attempt > 1 or report.is_repeat}
            delete_measurements(connection, sorted(kept & before), report.resumed_step + 1)
        elif report.is_repeat:
            delete_measurements(connection, sorted(kept), _first_step(report))
        insert_measurements(connection, lanes, report.network, report.layers, report.parametrised)
        insert_weights(connection, lanes, report.weights)
        put_checkpoints(connection, lanes, report.checkpoints)
        put_states(connection, lanes, report.states)
        ends = [end for end in report.ends if end.trial_id in kept]
        insert_finals(connection, lanes, {end.trial_id: end.step for end in ends}, report.network, report.layers)
        _finish(connection, ends)
    return frozenset(key for key, _ in held) - kept


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
