"""Which trials make the next stack: the head of the queue and others with its stack key, each statement made once."""

from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, func, literal, select

from service.store.held_back import HeldBack
from service.store.models import settings, trial, waits
from service.store.turns import end_turn, next_turn, waiting_experiments

COUNTED: Final = 20_000
"""Waiting trials are counted up to here at most."""
_COUNTED_KEYS: Final = 64
"""And stack keys up to here."""


class Waiting(NamedTuple):
    """What waits when a stack is chosen."""

    trials: int
    """With the stack key of the queue's head; counted up to a bound."""
    keys: int = 1
    """Stack keys of all waiting trials, that one among them; counted up to a bound."""
    device: str = "auto"
    """Which trainers may have that head: auto, cpu or gpu."""


class Lookup(NamedTuple):
    """What a trainer may be given, and how much of it."""

    devices: tuple[str, ...]
    """Of auto, cpu and gpu."""
    but: Collection[str]
    """A few stack keys that are passed over."""
    choose: Callable[[dict[str, Any], Waiting], int]
    """From the head's settings and what waits to how many with its stack key; 0: none."""
    enough: Callable[[dict[str, Any]], int]
    """From the head's settings to how many waiting trials are counted: more make no difference to `choose`."""


class Found(NamedTuple):
    """Trials that wait, locked for whoever leases them as one stack."""

    keys: list[int]
    """In the order of the queue."""
    stack_limit: int
    """They crashed in a larger stack than of so many; 0: they did not."""


_SHARED = ("stack_key", "stack_limit", "checkpoint_step", "device")
"""What the trials of a stack have in common: it goes on from one step."""

_HERE = and_(waits, trial.c.device.in_(bindparam("devices", expanding=True)), trial.c.priority == bindparam("level"))
_EXPERIMENT = bindparam("experiment")
# As a range, since they are wanted in the order of (experiment, id), which the indexes of waiting trials alone have:
# told that all are of one experiment, PostgreSQL walks the primary key past everything that has ended.
_ITS_OWN = trial.c.queued_for.between(_EXPERIMENT, _EXPERIMENT)
_SAME = and_(_HERE, *(trial.c[name] == bindparam(name) for name in _SHARED))

_HEAD: Final = (
    select(*(trial.c[name] for name in _SHARED), settings.c.document)
    .join(settings, settings.c.id == trial.c.settings_id)
    .where(_HERE, _ITS_OWN)
    .order_by(trial.c.queued_for, trial.c.id)
    .limit(1)
)
_ONE_HEAD: Final = _HEAD.where(trial.c.id == bindparam("head"))
_ALIKE: Final = select(trial.c.queued_for).where(_SAME).limit(bindparam("most"))
_COUNT: Final = select(func.count()).select_from(_ALIKE.subquery())


def _locked(query: Select[Any]) -> Select[Any]:
    """At most so many of these trials, that nobody else is leasing."""
    ordered = query.order_by(trial.c.queued_for, trial.c.id).limit(bindparam("most"))
    return ordered.with_for_update(skip_locked=True, key_share=True)


_PICKED: Final = select(trial.c.id).where(_SAME)
_PICK: Final = _locked(_PICKED.where(_ITS_OWN))
_PICK_OTHERS: Final = _locked(_PICKED.where(trial.c.queued_for != _EXPERIMENT))


def _keys_that_wait() -> Select[Any]:
    """One step through the index for each, however many trials."""
    first = select(func.min(trial.c.stack_key).label("key"), literal(1).label("number")).where(waits)
    each = first.cte("each", recursive=True)
    following = select(func.min(trial.c.stack_key)).where(waits, trial.c.stack_key > each.c.key).scalar_subquery()
    more = select(following, each.c.number + 1).where(each.c.key.is_not(None), each.c.number < _COUNTED_KEYS)
    each = each.union_all(more)
    return select(func.count(each.c.key))


_KEYS: Final = _keys_that_wait()


def next_stack(connection: Connection, lookup: Lookup, held: HeldBack, *, beside: bool) -> Found | None:
    """Lock the trials of the stack whose turn it is; None where nothing waits, or nothing is wanted of what does.

    Args:
        connection: of the transaction that leases them.
        lookup: what may be given.
        held: experiments whose rows do not yet say what holds.
        beside: it joins other stacks: one that has crashed does not.
    """
    turn = next_turn(connection, lookup.devices, held.waiting, lookup.but)
    if turn is None:
        return None
    here = {"devices": list(lookup.devices), "level": turn.priority, "experiment": turn.experiment}
    head = (
        connection.execute(_HEAD, here).one_or_none()
        if turn.head is None
        else connection.execute(_ONE_HEAD, here | {"head": turn.head}).one_or_none()
    )
    if head is None or (beside and head.stack_limit):
        return None
    same = here | {name: getattr(head, name) for name in _SHARED}
    may = _experiments(connection, same, held)
    wanted = head.stack_limit
    if not wanted:
        most = min(COUNTED, lookup.enough(head.document))
        counted = _COUNT if may is None else select(func.count()).select_from(_ALIKE.where(may).subquery())
        waiting = int(connection.scalar(counted, same | {"most": most}) or 1)
        keys = int(connection.scalar(_KEYS) or 1)
        wanted = lookup.choose(head.document, Waiting(waiting, keys, head.device))
    keys = _picked(connection, same, wanted, may)
    if not keys:
        return None
    end_turn(connection, turn)
    return Found(keys, head.stack_limit)


def _experiments(connection: Connection, same: dict[str, Any], held: HeldBack) -> Any:
    """A condition on whose behalf they may wait; None where nobody is held back."""
    if not held.waiting:
        return None
    return trial.c.queued_for.in_(set(waiting_experiments(connection, _SAME, same)) - held.waiting)


def _picked(connection: Connection, same: dict[str, Any], most: int, may: Any) -> list[int]:
    """Lock at most so many; others of the same shape ride along: their turn is not used up.

    They are updated afterwards: a LIMIT inside the UPDATE may be evaluated twice and lease too many.
    """
    keys = list[int]()
    for query in (_PICK, _PICK_OTHERS):
        if most > len(keys):
            here = query if may is None else query.where(may)
            keys += connection.scalars(here, same | {"most": most - len(keys)})
    return keys
