"""Every attempt at a trial: who made it, where, when, and why it ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, insert, literal, select, update
from sqlalchemy.types import Text

from service.store.columns import UtcTime
from service.store.ids import trial_number
from service.store.keys import among
from service.store.models import attempt, dispatcher, trial
from service.store.session import Store, utc_now


class AttemptRecord(NamedTuple):
    """One attempt; `outcome` is null while it runs.

    Outcomes: completed, diverged, failed, cancelled, paused; expired (its lease ran out), released (its dispatcher
    stopped), restarted (its trainer crashed) and interrupted (its node was lost): its dispatcher tries again.
    """

    number: int
    dispatcher: str
    host: str | None
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error: str | None


def list_attempts(store: Store, public_id: str) -> list[AttemptRecord]:
    """Attempts at a trial, the first one first; none for a trial that does not exist."""
    table = attempt.c
    query = select(
        table.number, table.dispatcher, table.host, table.started_at, table.ended_at, table.outcome, table.error
    ).where(table.trial_id == trial_number(public_id))
    with store.read() as connection:
        return [AttemptRecord(*row) for row in connection.execute(query.order_by(table.number))]


def open_attempts(connection: Connection, trials: Sequence[int], owner: str) -> None:
    """Note that a dispatcher begins an attempt at trials that it has just leased."""
    host = select(dispatcher.c.host).where(dispatcher.c.id == owner).scalar_subquery()
    begun = select(trial.c.id, trial.c.attempt, literal(owner, Text), host, literal(utc_now(), UtcTime)).where(
        among(connection, trial.c.id, trials)
    )
    columns = ["trial_id", "number", "dispatcher", "host", "started_at"]
    connection.execute(insert(attempt).from_select(columns, begun))


def close_attempts(connection: Connection, trials: Sequence[int], outcome: str, error: str | None = None) -> None:
    """Note how the running attempts at these trials ended."""
    if trials:
        connection.execute(
            update(attempt)
            .where(among(connection, attempt.c.trial_id, trials), attempt.c.ended_at.is_(None))
            .values(ended_at=utc_now(), outcome=outcome, error=error)
        )
