"""Experiments whose root span is still to be sent, and since when: what begins in one process ends in another's sight.

There is a row only while a receiver of traces is set. It is taken under a lease, and deleted once the receiver has the
span: one whose sender was killed is sent by another, or by the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, insert, literal, or_, select, update
from sqlalchemy.sql import ColumnElement

from service.errors import NotFound
from service.store.experiments import Summary, count_states, get_summary, is_unfinished
from service.store.ids import experiment_id
from service.store.models import experiment_trial, traced, trial
from service.store.session import Store, utc_now

LEASE: Final = timedelta(seconds=60)
"""One that was taken for so long is taken again."""
KEPT: Final = timedelta(days=7)
"""Since an experiment's last row, for which its root is tried."""


@dataclass(frozen=True)
class EndedTrace:
    """An experiment that has ended, taken to be told."""

    number: int
    summary: Summary
    began: datetime
    """When its request came."""
    ended: datetime
    """When its last trial did."""
    caller: str | None
    """The `traceparent` that came with the request."""


def begin(store: Store, number: int, began: datetime, caller: str | None) -> None:
    """Note that an experiment is traced; again is as well."""
    values = {"experiment_id": number, "began_at": began, "caller": caller}
    with store.write() as connection:
        if connection.scalar(select(traced.c.experiment_id).where(_is(number))) is None:
            connection.execute(insert(traced).values(**values))


def take_ended(store: Store, now: datetime | None = None) -> list[EndedTrace]:
    """Those that have ended and that nobody else is sending; rows of deleted experiments go."""
    now = now or utc_now()
    with store.read() as connection:
        open_ones = list(connection.scalars(select(traced.c.experiment_id).where(_is_due(now))))
        counts = count_states(connection, open_ones) if open_ones else {}
    return [one for number in open_ones if not is_unfinished(counts[number]) for one in _take(store, number, now)]


def _take(store: Store, number: int, now: datetime) -> Sequence[EndedTrace]:
    """The experiment, if it has ended and is ours to send."""
    try:
        summary = get_summary(store, experiment_id(number))
    except NotFound:
        forget(store, number)
        return ()
    if summary.progress < 1:
        return ()
    last = (
        select(func.max(trial.c.ended_at))
        .join(experiment_trial, experiment_trial.c.trial_id == trial.c.id)
        .where(experiment_trial.c.experiment_id == number, experiment_trial.c.wanted == literal(True))
    )
    with store.read() as connection:
        ended = connection.scalar(last) or now
    with store.write() as connection:
        taking = update(traced).where(_is(number), _is_due(now)).values(taken_until=now + LEASE)
        row = connection.execute(taking.returning(traced.c.began_at, traced.c.caller)).one_or_none()
        if row is None:
            return ()
        # of trials that were there before, rows were written before the request
        ended = max(ended, row.began_at)
        if now - ended > KEPT:
            connection.execute(delete(traced).where(_is(number)))
    return (EndedTrace(number, summary, row.began_at, ended, row.caller),)


def forget(store: Store, number: int) -> None:
    """Its root was sent, or it is gone."""
    with store.write() as connection:
        connection.execute(delete(traced).where(_is(number)))


def _is(number: int) -> ColumnElement[bool]:
    return traced.c.experiment_id == number


def _is_due(now: datetime) -> ColumnElement[bool]:
    return or_(traced.c.taken_until.is_(None), traced.c.taken_until < now)
