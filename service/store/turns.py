"""Whose turn it is: by priority, then round robin over owners, then over an owner's experiments.

The owner with the fewest running trials comes first, and of those the one whose turn was longest ago; then the same
among the owner's experiments. A small sweep is not starved by a huge one, whoever submitted first.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select, update
from sqlalchemy.sql import ColumnElement

from service.store.models import experiment, runs, trial, waits
from service.store.session import utc_now

_NEVER = datetime.min.replace(tzinfo=UTC)


class Turn(NamedTuple):
    """The experiment to lease for next, and its priority."""

    experiment: int
    priority: int


def next_turn(connection: Connection, devices: Sequence[str], held_back: Collection[int] = ()) -> Turn | None:
    """Whose trials to lease next, of those that ask for one of these devices; None when nothing waits.

    Args:
        connection: of the transaction that leases.
        devices: of auto, cpu and gpu.
        held_back: experiments that are being paused, cancelled or deleted: none of theirs.
    """
    ready = waits & trial.c.device.in_(devices)
    priority = connection.scalar(select(func.max(trial.c.priority)).where(ready))
    while priority is not None:
        at = waiting_experiments(connection, ready & (trial.c.priority == priority))
        waiting = [number for number in at if number not in held_back]
        if waiting:
            return Turn(waiting[0] if len(waiting) == 1 else _fairest(connection, waiting), priority)
        lower = ready & (trial.c.priority < priority)
        priority = connection.scalar(select(func.max(trial.c.priority)).where(lower))
    return None


def end_turn(connection: Connection, turn: Turn) -> None:
    """Note that trials were leased on the experiment's behalf; skipped while somebody else notes or changes it."""
    free = select(experiment.c.id).where(experiment.c.id == turn.experiment).with_for_update(skip_locked=True)
    connection.execute(update(experiment).where(experiment.c.id.in_(free)).values(leased_at=utc_now()))


def waiting_experiments(connection: Connection, here: ColumnElement[bool]) -> list[int]:
    """Experiments that such trials wait for; one step through the index for each, however many trials."""
    first = select(func.min(trial.c.queued_for).label("number")).where(here).cte("waiting", recursive=True)
    following = select(func.min(trial.c.queued_for)).where(here, trial.c.queued_for > first.c.number).scalar_subquery()
    each = first.union_all(select(following).where(first.c.number.is_not(None)))
    return [number for number in connection.scalars(select(each.c.number)) if number is not None]


def _fairest(connection: Connection, waiting: Sequence[int]) -> int:
    """Of the experiments that wait at one priority, the one whose turn it is."""
    running = Counter[int]()
    for number, count in connection.execute(
        select(trial.c.queued_for, func.count()).where(runs).group_by(trial.c.queued_for)
    ):
        running[number] = count
    table = experiment.c
    rows = connection.execute(
        select(table.id, table.owner, table.leased_at).where(table.id.in_([*waiting, *running]))
    ).all()
    of_owner: Counter[str] = Counter()
    for row in rows:
        of_owner[row.owner] += running[row.id]
    owners = {row.owner for row in rows}
    turns = select(table.owner, func.max(table.leased_at)).where(table.owner.in_(owners)).group_by(table.owner)
    last = {row[0]: row[1] for row in connection.execute(turns)}
    order = {
        row.id: (
            of_owner[row.owner],
            last.get(row.owner) or _NEVER,
            running[row.id],
            row.leased_at or _NEVER,
            row.id,
        )
        for row in rows
    }
    return min(waiting, key=lambda number: order[number])
