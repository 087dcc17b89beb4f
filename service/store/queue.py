"""Leases on trials, and what dispatchers report under them: at-least-once execution with an exactly-once effect.

Every lease raises the trial's attempt number, and every later write names it: a dispatcher that was paused,
partitioned or presumed dead finds that its number is no longer the trial's, and nothing of it is written. Guard and
rows share one transaction. docs/trial_states.md draws the states.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
from sqlalchemy import Connection, and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.sql import ColumnElement

from service.states import TrialState
from service.store.measurements import delete_measurements, insert_finals, insert_measurements
from service.store.models import dispatcher, settings, trial
from service.store.session import Store, lease_clock, utc_now

_COUNTED = 100_000
"""Waiting trials are counted up to here; more make no difference to the size of a stack."""


class Leased(NamedTuple):
    """A trial that its holder may run and report under this attempt's number."""

    trial_id: int
    attempt: int
    settings: dict[str, Any]
    seed: int
    stack_key: str
    queued_for: int


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
    """The first report of these attempts: rows of earlier attempts are deleted first."""
    network: pa.RecordBatch
    layers: pa.RecordBatch
    parametrised: pa.RecordBatch
    ends: tuple[End, ...]
    is_repeat: bool = False
    """An earlier call with this report was not answered, and may have been committed."""


# -- dispatchers ----------------------------------------------------------------------------------------------------


def register_dispatcher(
    store: Store, identity: str, host: str, pid: int, slots: int, resources: Mapping[str, Any]
) -> None:
    """Enter a dispatcher, under an identity that no process had before."""
    now = utc_now()
    with store.write() as connection:
        connection.execute(
            insert(dispatcher).values(
                id=identity, host=host, pid=pid, slots=slots, resources=dict(resources), started_at=now, seen_at=now
            )
        )


def beat(store: Store, identity: str, resources: Mapping[str, Any]) -> None:
    """Note that a dispatcher lives, and what it has."""
    with store.write() as connection:
        connection.execute(
            update(dispatcher).where(dispatcher.c.id == identity).values(seen_at=utc_now(), resources=dict(resources))
        )


def remove_dispatcher(store: Store, identity: str) -> None:
    """Strike out a dispatcher that stops."""
    with store.write() as connection:
        connection.execute(delete(dispatcher).where(dispatcher.c.id == identity))


# -- leases ---------------------------------------------------------------------------------------------------------


def lease_stack(
    store: Store, owner: str, *, lease_seconds: float, choose: Callable[[dict[str, Any], int], int]
) -> list[Leased]:
    """Lease trials of one shape: the head of the queue and others with its stack key.

    Args:
        store: where the queue is.
        owner: the dispatcher's identity.
        lease_seconds: how long the lease holds unless renewed.
        choose: from the head's settings and the number waiting with its stack key to how many to lease.
    Returns:
        The leased trials in queue order; empty when nothing waits.
    """
    with store.write() as connection:
        now, clock = lease_clock(connection)
        due = and_(trial.c.state == TrialState.QUEUED, trial.c.queued_for.is_not(None), trial.c.not_before <= now)
        head = connection.execute(
            select(trial.c.stack_key, trial.c.priority, settings.c.document)
            .join(settings, settings.c.id == trial.c.settings_id)
            .where(due)
            .order_by(trial.c.priority.desc(), trial.c.queued_for, trial.c.id)
            .limit(1)
        ).one_or_none()
        if head is None:
            return []
        same = and_(due, trial.c.stack_key == head.stack_key, trial.c.priority == head.priority)
        waiting = connection.scalar(
            select(func.count()).select_from(select(trial.c.id).where(same).limit(_COUNTED).subquery())
        )
        wanted = choose(head.document, int(waiting or 1))
        picked = (
            select(trial.c.id)
            .where(same)
            .order_by(trial.c.queued_for, trial.c.id)
            .limit(wanted)
            .with_for_update(skip_locked=True)
        )
        # picked first, then updated: a LIMIT inside the UPDATE may be evaluated twice and lease too many
        keys = list(connection.scalars(picked))
        return _lease(connection, keys, owner, now + lease_seconds, clock)


def _lease(connection: Connection, keys: Sequence[int], owner: str, until: float, clock: str) -> list[Leased]:
    if not keys:
        return []
    connection.execute(
        update(trial)
        .where(trial.c.id.in_(keys))
        .values(
            state=TrialState.RUNNING,
            attempt=trial.c.attempt + 1,
            owner=owner,
            lease_until=until,
            lease_clock=clock,
            started_at=utc_now(),
            ended_at=None,
            error=None,
        )
    )
    rows = connection.execute(
        select(trial.c.id, trial.c.attempt, settings.c.document, trial.c.seed, trial.c.stack_key, trial.c.queued_for)
        .join(settings, settings.c.id == trial.c.settings_id)
        .where(trial.c.id.in_(keys))
        .order_by(trial.c.queued_for, trial.c.id)
    )
    return [Leased(*row) for row in rows]


def renew(store: Store, held: Sequence[tuple[int, int]], lease_seconds: float) -> frozenset[int]:
    """Prolong leases; answers the trials that are no longer the holder's, and must be dropped."""
    with store.write() as connection:
        now, clock = lease_clock(connection)
        kept = _prolong(connection, held, now + lease_seconds, clock)
    return frozenset(key for key, _ in held) - kept


def restart(
    store: Store, held: Sequence[tuple[int, int]], lease_seconds: float, *, charge: bool, error: str
) -> dict[int, int]:
    """Lease held trials once more to the same holder; answers the new attempt of each that was still the holder's."""
    with store.write() as connection:
        now, clock = lease_clock(connection)
        # RETURNING, not a second look: that could find the same attempt number on a successor's lease
        rows = connection.execute(
            update(trial)
            .where(_holds(held))
            .values(
                attempt=trial.c.attempt + 1,
                failures=trial.c.failures + int(charge),
                error=error,
                lease_until=now + lease_seconds,
                lease_clock=clock,
            )
            .returning(trial.c.id, trial.c.attempt)
        )
        return {row.id: row.attempt for row in rows}


def release(store: Store, held: Sequence[tuple[int, int]]) -> None:
    """Hand running trials back to the queue, uncharged."""
    with store.write() as connection:
        connection.execute(update(trial).where(_holds(held)).values(**_REQUEUED))


def sweep(store: Store) -> int:
    """Put trials whose lease has run out back into the queue; answers how many."""
    with store.write() as connection:
        now, clock = lease_clock(connection)
        expired = or_(trial.c.lease_until < now, trial.c.lease_clock != clock)
        result = connection.execute(
            update(trial).where(trial.c.state == TrialState.RUNNING, expired).values(**_REQUEUED)
        )
        return result.rowcount


_REQUEUED: dict[str, Any] = {
    "state": TrialState.QUEUED,
    "owner": None,
    "lease_until": None,
    "lease_clock": None,
    "started_at": None,
}


def _holds(held: Sequence[tuple[int, int]]) -> ColumnElement[bool]:
    """The fence: these trials, running, under these attempts."""
    return and_(
        tuple_(trial.c.id, trial.c.attempt).in_(sorted(held)),
        trial.c.state == TrialState.RUNNING,
    )


def _prolong(connection: Connection, held: Sequence[tuple[int, int]], until: float, clock: str) -> frozenset[int]:
    """Prolong those leases that still hold; their trials."""
    if not held:
        return frozenset()
    kept = connection.scalars(
        update(trial).where(_holds(held)).values(lease_until=until, lease_clock=clock).returning(trial.c.id)
    )
    return frozenset(kept)


# -- reports --------------------------------------------------------------------------------------------------------


def record(store: Store, report: Report, lease_seconds: float) -> frozenset[int]:
    """Commit a block: prolong the leases, write the rows and end what ended, for the lanes still held.

    Returns:
        Trials of open lanes that are no longer the holder's: nothing of theirs was written, drop them.
    """
    held = [report.trials[lane] for lane in sorted(report.open)]
    if not held:
        return frozenset()
    with store.write() as connection:
        now, clock = lease_clock(connection)
        kept = _prolong(connection, held, now + lease_seconds, clock)
        lanes = {lane: report.trials[lane][0] for lane in sorted(report.open) if report.trials[lane][0] in kept}
        if report.is_first:
            delete_measurements(connection, sorted(kept))
        elif report.is_repeat:
            delete_measurements(connection, sorted(kept), _first_step(report))
        insert_measurements(connection, lanes, report.network, report.layers, report.parametrised)
        ends = [end for end in report.ends if end.trial_id in kept]
        insert_finals(connection, lanes, {end.trial_id: end.step for end in ends}, report.network, report.layers)
        _finish(connection, ends)
    return frozenset(key for key, _ in held) - kept


def _first_step(report: Report) -> int:
    """The first step of a report's rows; the network's rows name every measured step."""
    steps = report.network.column("step").to_numpy()
    return int(steps.min()) if len(steps) else 1 << 62


def fail(store: Store, trial_id: int, attempt: int, end: End) -> frozenset[int]:
    """End a trial that could not be trained, charged; what earlier blocks measured stays."""
    with store.write() as connection:
        if not connection.scalars(select(trial.c.id).where(_holds([(trial_id, attempt)]))).all():
            return frozenset({trial_id})
        connection.execute(update(trial).where(trial.c.id == trial_id).values(failures=trial.c.failures + 1))
        _finish(connection, [end])
    return frozenset()


def _finish(connection: Connection, ends: Sequence[End]) -> None:
    """Move trials, held in this transaction, to their end."""
    groups: dict[tuple[str, int | None, str | None], list[End]] = {}
    for end in ends:
        groups.setdefault((end.state, end.step, end.error), []).append(end)
    now = utc_now()
    for (state, step, error), members in groups.items():
        connection.execute(
            update(trial)
            .where(trial.c.id.in_([end.trial_id for end in members]))
            .values(
                state=TrialState(state),
                last_step=step,
                error=error,
                provenance=dict(members[0].provenance),
                ended_at=now,
                owner=None,
                lease_until=None,
                lease_clock=None,
                queued_for=None,
            )
        )
