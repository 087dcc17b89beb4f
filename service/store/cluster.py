"""Who works on the queue: dispatchers sign on, beat and sign off; and how much waits."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from service.errors import StoreUnusable
from service.states import TrialState
from service.store.incarnation import dispatching
from service.store.models import dispatcher, experiment, holder, runs, tally, trial, waits
from service.store.session import Store, lease_clock, utc_now
from service.store.tallies import all_trials

_CLOCK: Final = "clock"
"""Under which name a dispatcher of a SQLite store says by which machine's clock it keeps leases."""
RAY: Final = "ray"
"""Under which name a dispatcher says which Ray cluster it uses."""
ALIVE_SECONDS = 20.0
"""A dispatcher that has not been heard of for this long is taken for dead; it beats every five seconds."""


class DispatcherRecord(NamedTuple):
    """A dispatcher as it last spoke."""

    id: str
    host: str
    pid: int
    slots: int
    resources: dict[str, Any]
    started_at: datetime
    seen_at: datetime

    @property
    def is_alive(self) -> bool:
        """Whether it was heard of lately."""
        return utc_now() - self.seen_at < timedelta(seconds=ALIVE_SECONDS)


_DISPATCHERS: Final = select(*(dispatcher.c[name] for name in DispatcherRecord._fields)).order_by(
    dispatcher.c.started_at
)


def register_dispatcher(
    store: Store, identity: str, host: str, pid: int, slots: int, resources: Mapping[str, Any]
) -> None:
    """Enter a dispatcher, under an identity that no process had before.

    Raises:
        StoreUnusable: another machine dispatches from the same SQLite file.
    """
    now = utc_now()
    with dispatching(store) as connection:
        _refuse_two_machines(connection)
        known = dict(resources) | _machine(connection)
        connection.execute(
            insert(dispatcher).values(
                id=identity, host=host, pid=pid, slots=slots, resources=known, started_at=now, seen_at=now
            )
        )


def refuse_two_machines(store: Store) -> None:
    """Refuse a SQLite file from which another machine dispatches. Raises StoreUnusable."""
    with store.read() as connection:
        _refuse_two_machines(connection)


def _refuse_two_machines(connection: Connection) -> None:
    """Leases of a SQLite store are kept by the clock of one machine: another one would take them for run out."""
    if connection.dialect.name != "sqlite":
        return
    clock = lease_clock(connection)[1]
    foreign = select(trial.c.owner).where(runs, trial.c.lease_clock != clock)
    holders = set(connection.scalars(foreign.distinct()))
    seen = [DispatcherRecord._make(row) for row in connection.execute(_DISPATCHERS)]
    for one in seen:
        is_foreign = one.resources.get(_CLOCK, clock) != clock or one.id in holders
        if one.is_alive and is_foreign:
            ago = max(0.0, (utc_now() - one.seen_at).total_seconds())
            raise StoreUnusable(
                f"the machine {one.host} dispatches from this SQLite file (process {one.pid}, heard of {ago:.0f} s "
                "ago), and such a store belongs to one machine: stop that one, or use PostgreSQL (NFA_DATABASE_URL). "
                f"If it was this machine before a restart, start again in {ALIVE_SECONDS:.0f} s"
            )


def _machine(connection: Connection) -> dict[str, str]:
    """What tells this machine's dispatchers from another's; nothing where the database keeps the clock."""
    return {_CLOCK: lease_clock(connection)[1]} if connection.dialect.name == "sqlite" else {}


def beat(store: Store, identity: str, slots: int, resources: Mapping[str, Any]) -> None:
    """Note that a dispatcher lives, how many trainers it has, and what they do."""
    with dispatching(store) as connection:
        values = {"seen_at": utc_now(), "slots": slots, "resources": dict(resources) | _machine(connection)}
        connection.execute(update(dispatcher).where(dispatcher.c.id == identity).values(**values))


def remove_dispatcher(store: Store, identity: str) -> None:
    """Strike out a dispatcher that stops; what still runs under its name is to be swept."""
    with dispatching(store) as connection:
        connection.execute(delete(holder).where(holder.c.owner == identity))
        connection.execute(delete(dispatcher).where(dispatcher.c.id == identity))


def list_dispatchers(store: Store) -> list[DispatcherRecord]:
    """Every dispatcher that has not signed off, the oldest first."""
    with store.read() as connection:
        return [DispatcherRecord._make(row) for row in connection.execute(_DISPATCHERS)]


def peers_on(store: Store, ray: str) -> list[DispatcherRecord]:
    """The living dispatchers that use one Ray cluster, in an order that all of them see."""
    alive = [one for one in list_dispatchers(store) if one.is_alive and one.resources.get(RAY) == ray]
    return sorted(alive, key=lambda one: (one.started_at, one.id))


def live_slots(store: Store) -> int:
    """Trainers of all living dispatchers; 0 without any."""
    return sum(one.slots for one in list_dispatchers(store) if one.is_alive)


def queue_counts(store: Store) -> dict[TrialState, int]:
    """Trials that wait and that run, over all experiments."""
    with store.read() as connection:
        found = all_trials(connection)
    return {state: found[state] for state in (TrialState.QUEUED, TrialState.RUNNING)}


class Snapshot(NamedTuple):
    """Who works on the queue, and how much of it waits and runs."""

    dispatchers: list[DispatcherRecord]
    queued: int
    running: int


def snapshot(store: Store) -> Snapshot:
    """Dispatchers with their trainers, and how many trials wait and run."""
    counts = queue_counts(store)
    return Snapshot(list_dispatchers(store), counts[TrialState.QUEUED], counts[TrialState.RUNNING])


class QueueState(NamedTuple):
    """All trials by state, and how long the oldest one has waited."""

    counts: dict[TrialState, int]
    age_seconds: float


def queue_state(store: Store) -> QueueState:
    """The whole queue at a glance."""
    with store.read() as connection:
        found = all_trials(connection)
        oldest = _oldest(connection) if found[TrialState.QUEUED] else None
    age = 0.0 if oldest is None else (utc_now() - oldest).total_seconds()
    return QueueState(found, age)


def _oldest(connection: Connection) -> datetime | None:
    """When the trial that has waited longest was made: of each experiment that any wait for, the first in the queue."""
    queued = (
        select(tally.c.experiment_id)
        .where(tally.c.state == TrialState.QUEUED)
        .group_by(tally.c.experiment_id)
        .having(func.sum(tally.c.trials) > 0)
    )
    # as the index of what waits has them
    first = (
        select(trial.c.created_at)
        .where(waits, trial.c.priority == experiment.c.priority, trial.c.queued_for == experiment.c.id)
        .order_by(trial.c.id)
        .limit(1)
        .correlate(experiment)
        .scalar_subquery()
    )
    return connection.scalar(select(func.min(first)).where(experiment.c.id.in_(queued)))
