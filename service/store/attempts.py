"""Every attempt at a trial: who made it, where, when, and why it ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, literal, select, update
from sqlalchemy.types import Text

from service.store.column_types import UtcTime
from service.store.ids import trial_number
from service.store.keys import among
from service.store.models import attempt, trial
from service.store.session import Store, utc_now


class Place(NamedTuple):
    """Where a trainer runs."""

    host: str | None = None
    node: str | None = None


class AttemptRecord(NamedTuple):
    """One attempt: which dispatcher made it, where its trainer ran; `outcome` is null while it runs.

    Outcomes: completed, diverged, failed, cancelled, paused; expired (its lease ran out), released (its dispatcher
    stopped), restarted (its trainer crashed) and interrupted (its node was lost): its dispatcher tries again.
    """

    number: int
    dispatcher: str
    host: str | None
    node: str | None
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error: str | None


def list_attempts(store: Store, public_id: str) -> list[AttemptRecord]:
    """Attempts at a trial, the first one first; none for a trial that does not exist."""
    table = attempt.c
    query = select(*(table[name] for name in AttemptRecord._fields)).where(table.trial_id == trial_number(public_id))
    with store.read() as connection:
        return [AttemptRecord._make(row) for row in connection.execute(query.order_by(table.number))]


def open_attempts(connection: Connection, trials: Sequence[int], owner: str, place: Place) -> None:
    """Note that a dispatcher begins an attempt at trials that it has just leased."""
    words = [literal(word, Text) for word in (owner, place.host, place.node)]
    values: list[Any] = [trial.c.id, trial.c.attempt, *words, literal(utc_now(), UtcTime)]
    begun = select(*values).where(among(connection, trial.c.id, trials))
    columns = ["trial_id", "number", "dispatcher", "host", "node", "started_at"]
    connection.execute(insert(attempt).from_select(columns, begun))


def place_attempts(store: Store, held: Sequence[tuple[int, int]], place: Place) -> None:
    """Note where the trainer runs that was found for attempts (trial id, attempt) begun without one."""
    numbers = {number for _, number in held}
    with store.write() as connection:
        for number in numbers:
            keys = [key for key, its in held if its == number]
            connection.execute(
                update(attempt)
                .where(among(connection, attempt.c.trial_id, keys), attempt.c.number == number)
                .values(**place._asdict())
            )


def close_attempts(connection: Connection, trials: Sequence[int], outcome: str, error: str | None = None) -> None:
    """Note how the running attempts at these trials ended."""
    if trials:
        connection.execute(
            update(attempt)
            .where(among(connection, attempt.c.trial_id, trials), attempt.c.ended_at.is_(None))
            .values(ended_at=utc_now(), outcome=outcome, error=error)
        )
