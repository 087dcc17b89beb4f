"""Whose turn it is: by priority, then round robin over owners, then over an owner's experiments.

The owner with the fewest running trials comes first, and of those the one whose turn was longest ago; then the same
among the owner's experiments. A small sweep is not starved by a huge one, whoever submitted first.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, func, literal, select, tuple_, update
from sqlalchemy.sql import ColumnElement

from service.store.models import experiment, runs, trial, waits
from service.store.session import utc_now

_NEVER = datetime.min.replace(tzinfo=UTC)


_LOOKED_AT: Final = 256
"""Where stack keys are passed over, others are looked for among so many (stack key, priority, experiment)."""


class Turn(NamedTuple):
    """The experiment to lease for next, and its priority."""

    experiment: int
    priority: int
    head: int | None = None
    """The first of its trials that may be leased, where stack keys are passed over."""


def next_turn(
    connection: Connection, devices: Sequence[str], held_back: Collection[int] = (), but: Collection[str] = ()
) -> Turn | None:
    """Whose trials to lease next, of those that ask for one of these devices; None when nothing waits.

    Args:
        connection: of the transaction that leases.
        devices: of auto, cpu and gpu.
        held_back: experiments that are being paused, cancelled or deleted: none of theirs.
        but: stack keys that are passed over.
    """
    if but:
        return _turn_but(connection, waits & trial.c.device.in_(devices), held_back, but)
    here: dict[str, Any] = {"devices": list(devices)}
    priority = connection.scalar(_HIGHEST, here)
    while priority is not None:
        here["level"] = priority
        waiting = [number for number in _numbers(connection, _WAITING, here) if number not in held_back]
        if waiting:
            return Turn(waiting[0] if len(waiting) == 1 else _fairest(connection, waiting), priority)
        priority = connection.scalar(_LOWER, here)
    return None


def _turn_but(
    connection: Connection, ready: ColumnElement[bool], held_back: Collection[int], but: Collection[str]
) -> Turn | None:
    """The same among other stack keys: of very many, those that come first as words."""
    heads = [one for one in _heads(connection, ready) if one.stack_key not in but and one.queued_for not in held_back]
    if not heads:
        return None
    priority = max(one.priority for one in heads)
    heads = [one for one in heads if one.priority == priority]
    waiting = sorted({one.queued_for for one in heads})
    whose = waiting[0] if len(waiting) == 1 else _fairest(connection, waiting)
    return Turn(whose, priority, min(one.id for one in heads if one.queued_for == whose))


class _Head(NamedTuple):
    """The first trial that waits with a stack key at a priority for an experiment."""

    stack_key: str
    priority: int
    queued_for: int
    id: int


def _heads(connection: Connection, ready: ColumnElement[bool]) -> list[_Head]:
    """Such trials; one step through the index of stack keys for each, however many wait behind it."""
    names = _Head._fields
    place = (trial.c.stack_key, trial.c.priority, trial.c.queued_for)
    by_place = select(trial.c.id).where(ready).order_by(*place, trial.c.id).limit(1)
    one = trial.alias()
    columns = [one.c[name] for name in names]
    found = (
        select(*columns, literal(1).label("number"))
        .where(one.c.id == by_place.scalar_subquery())
        .cte("heads", recursive=True)
    )
    key, priority, queued_for = place
    last = found.c.stack_key, found.c.priority, found.c.queued_for
    beyond = [tuple_(*place) > tuple_(*last)]
    if connection.dialect.name != "postgresql":
        # SQLite walks past all that wait where the last one was, and PostgreSQL past others where it is told so
        is_level = and_(key == last[0], priority == last[1])
        beyond = [and_(is_level, queued_for > last[2]), and_(key == last[0], priority > last[1]), key > last[0]]
    nearest = [by_place.where(each).correlate(found).scalar_subquery() for each in beyond]
    following = func.coalesce(*nearest) if len(nearest) > 1 else nearest[0]
    joined = found.join(one, one.c.id == following)
    more = select(*columns, found.c.number + 1).select_from(joined).where(found.c.number < _LOOKED_AT)
    every = found.union_all(more)
    return [_Head._make(row) for row in connection.execute(select(*(every.c[name] for name in names)))]


def end_turn(connection: Connection, turn: Turn) -> None:
    """Note that trials were leased on the experiment's behalf; skipped while somebody else notes or changes it."""
    connection.execute(_END_TURN, {"number": turn.experiment, "now": utc_now()})


def waiting_experiments(
    connection: Connection, here: ColumnElement[bool], given: Mapping[str, Any] | None = None
) -> list[int]:
    """Experiments that such trials wait for.

    Args:
        connection: to the store.
        here: a condition on trials.
        given: what it names and leaves open.
    """
    return _numbers(connection, _experiments(here), given or {})


def _numbers(connection: Connection, query: Select[Any], given: Mapping[str, Any]) -> list[int]:
    return [number for number in connection.scalars(query, given) if number is not None]


def _experiments(here: ColumnElement[bool]) -> Select[Any]:
    """One step through the index for each, however many trials."""
    first = select(func.min(trial.c.queued_for).label("number")).where(here).cte("waiting", recursive=True)
    following = select(func.min(trial.c.queued_for)).where(here, trial.c.queued_for > first.c.number).scalar_subquery()
    each = first.union_all(select(following).where(first.c.number.is_not(None)))
    return select(each.c.number)


# made once: every lease asks them
_READY = waits & trial.c.device.in_(bindparam("devices", expanding=True))
_HIGHEST: Final = select(func.max(trial.c.priority)).where(_READY)
_LOWER: Final = _HIGHEST.where(trial.c.priority < bindparam("level"))
_WAITING: Final = _experiments(_READY & (trial.c.priority == bindparam("level")))
_FREE = select(experiment.c.id).where(experiment.c.id == bindparam("number")).with_for_update(skip_locked=True)
_END_TURN: Final = update(experiment).where(experiment.c.id.in_(_FREE)).values(leased_at=bindparam("now"))


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
