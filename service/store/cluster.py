"""Who works on the queue: dispatchers sign on, beat and sign off; and how much waits."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, func, insert, select, update

from service.states import TrialState
from service.store.incarnation import dispatching
from service.store.models import dispatcher, trial, waits
from service.store.session import Store, utc_now

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


def register_dispatcher(
    store: Store, identity: str, host: str, pid: int, slots: int, resources: Mapping[str, Any]
) -> None:
    """Enter a dispatcher, under an identity that no process had before."""
    now = utc_now()
    with dispatching(store) as connection:
        connection.execute(
            insert(dispatcher).values(
                id=identity, host=host, pid=pid, slots=slots, resources=dict(resources), started_at=now, seen_at=now
            )
        )


def beat(store: Store, identity: str, slots: int, resources: Mapping[str, Any]) -> None:
    """Note that a dispatcher lives, how many trainers it has, and what they do."""
    values = {"seen_at": utc_now(), "slots": slots, "resources": dict(resources)}
    with dispatching(store) as connection:
        connection.execute(update(dispatcher).where(dispatcher.c.id == identity).values(**values))


def remove_dispatcher(store: Store, identity: str) -> None:
    """Strike out a dispatcher that stops."""
    with dispatching(store) as connection:
        connection.execute(delete(dispatcher).where(dispatcher.c.id == identity))


def list_dispatchers(store: Store) -> list[DispatcherRecord]:
    """Every dispatcher that has not signed off, the oldest first."""
    table = dispatcher.c
    query = select(
        table.id, table.host, table.pid, table.slots, table.resources, table.started_at, table.seen_at
    ).order_by(table.started_at)
    with store.read() as connection:
        return [DispatcherRecord(*row) for row in connection.execute(query)]


def live_slots(store: Store) -> int:
    """Trainers of all living dispatchers; 0 without any."""
    return sum(one.slots for one in list_dispatchers(store) if one.is_alive)


def queue_counts(store: Store) -> dict[TrialState, int]:
    """Trials that wait and that run, over all experiments."""
    open_states = [TrialState.QUEUED, TrialState.RUNNING]
    query = select(trial.c.state, func.count()).where(trial.c.state.in_(open_states)).group_by(trial.c.state)
    with store.read() as connection:
        found = {TrialState(state): count for state, count in connection.execute(query)}
    return {state: found.get(state, 0) for state in open_states}


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
        found = {
            TrialState(state): n
            for state, n in connection.execute(select(trial.c.state, func.count()).group_by(trial.c.state))
        }
        oldest = connection.scalar(select(func.min(trial.c.created_at)).where(waits))
    age = 0.0 if oldest is None else (utc_now() - oldest).total_seconds()
    return QueueState({state: found.get(state, 0) for state in TrialState}, age)
