"""Who is to be told what became of an experiment, and the outbox of what is told.

An event is recorded once: whoever closes the subscription puts its message into the outbox in the same transaction. A
message is sent at least once: it is taken under a lease, and one whose sender died is taken again with the same id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, delete, insert, literal, select, update

from service.states import TrialState
from service.store.experiments import Experiment, count_states, get_experiment, is_unfinished, require
from service.store.ids import experiment_id
from service.store.models import experiment, notification, subscription
from service.store.session import Store, utc_now
from service.store.verdicts import judged

LEASE: Final = timedelta(seconds=60)
"""A message that was taken for so long is taken again."""
KEPT: Final = timedelta(days=30)
MOST_ATTEMPTS: Final = 12
_FIRST_WAIT: Final = timedelta(seconds=30)
_LONGEST_WAIT: Final = timedelta(hours=6)
_ENDING: Final = ("end", "verdict")


@dataclass(frozen=True)
class Message:
    """What is to be sent to one address."""

    id: str
    number: int
    attempts: int
    """Which this one is; later ones make what it reports void."""
    url: str
    event: str
    body: dict[str, Any]


def message_id(number: int) -> str:
    """The public id of a message, the same at every attempt to send it."""
    return f"n{number}"


def record_due(store: Store, address: str | None = None) -> int:
    """Put into the outbox what has become true since; answers how many messages.

    Args:
        store: where it is.
        address: of the service, which a message names.
    """
    with store.read() as connection:
        query = select(subscription.c.experiment_id, subscription.c.event).join(
            experiment, experiment.c.id == subscription.c.experiment_id
        )
        is_open = subscription.c.is_open == literal(True)
        waiting: dict[int, set[str]] = {}
        for number, event in connection.execute(query.where(is_open)):
            waiting.setdefault(number, set()).add(event)
        counts = count_states(connection, list(waiting)) if waiting else {}
    count = 0
    for number, events in waiting.items():
        may_have_ended = not is_unfinished(counts[number])
        has_failed = bool(counts[number].get(TrialState.FAILED))
        if may_have_ended or (has_failed and "failed" in events):
            count += _record(store, number, events, address)
    return count


def _record(store: Store, number: int, events: set[str], address: str | None) -> int:
    one = get_experiment(store, experiment_id(number))
    true = {
        "failed": bool(one.counts.get(TrialState.FAILED)),
        "end": one.progress >= 1,
        "verdict": one.progress >= 1 and bool(one.claims),
    }
    due = [event for event in events if true[event]]
    verdicts = judged(store, one) if set(due) & set(_ENDING) and one.claims else []
    count = 0
    for event in due:
        body = body_of(one, event, [dict(verdict) for verdict in verdicts] if event in _ENDING else [], address)
        count += _into_outbox(store, number, event, body)
    return count


def _into_outbox(store: Store, number: int, event: str, body: Mapping[str, Any]) -> int:
    own = and_(subscription.c.experiment_id == number, subscription.c.event == event)
    with store.write() as connection:
        closing = update(subscription).where(own, subscription.c.is_open == literal(True)).values(is_open=False)
        urls = list(connection.scalars(closing.returning(subscription.c.url)))
        now = utc_now()
        rows = [
            {
                "experiment_id": number,
                "event": event,
                "url": url,
                "body": dict(body),
                "attempts": 0,
                "next_at": now,
                "created_at": now,
            }
            for url in urls
        ]
        if rows:
            connection.execute(insert(notification), rows)
    return len(rows)


def body_of(one: Experiment, event: str, verdicts: Sequence[Any], address: str | None) -> dict[str, Any]:
    """What is sent, but for the id and the times of the message."""
    told = {"id": one.id, "name": one.name, "owner": one.owner, "state": one.state.value}
    counts = {state.value: count for state, count in one.counts.items() if count}
    where = {"url": f"{address.rstrip('/')}/experiments/{one.id}"} if address else {}
    fields = ("id", "says", "holds", "worst", "threshold", "trials")
    short = [{name: verdict[name] for name in fields} for verdict in verdicts]
    return {"event": event, "experiment": told | {"counts": counts} | where, "verdicts": short}


def take(store: Store, now: datetime | None = None) -> Message | None:
    """The message that waits longest, for this caller alone as long as the lease; None where none is due."""
    now = now or utc_now()
    with store.read() as connection:
        if connection.scalar(_due(now)) is None:
            return None
    with store.write() as connection:
        number = connection.scalar(_due(now).with_for_update(skip_locked=True))
        if number is None:
            return None
        changes = {"attempts": notification.c.attempts + 1, "next_at": now + LEASE}
        row = connection.execute(
            update(notification).where(notification.c.id == number).values(**changes).returning(*notification.c)
        ).one()
    whole = {"id": message_id(row.id), "created_at": row.created_at.isoformat(), **row.body}
    return Message(message_id(row.id), row.id, row.attempts, row.url, row.event, whole)


def _due(now: datetime) -> Any:
    return select(notification.c.id).where(notification.c.next_at <= now).order_by(notification.c.next_at).limit(1)


def delivered(store: Store, message: Message, now: datetime | None = None) -> None:
    """Note that the receiver has taken it."""
    _note(store, message, {"next_at": None, "delivered_at": now or utc_now(), "error": None})


def unsent(store: Store, message: Message, why: str, *, is_final: bool, now: datetime | None = None) -> None:
    """Note why it was not taken, and when to try again; after the last attempt, or a final answer, never."""
    is_over = is_final or message.attempts >= MOST_ATTEMPTS
    following = None if is_over else (now or utc_now()) + wait_after(message.attempts)
    _note(store, message, {"next_at": following, "error": why[:500]})


def wait_after(attempts: int) -> timedelta:
    """Twice as long after each attempt, from half a minute to six hours: twelve attempts in twenty-one hours."""
    return min(_FIRST_WAIT * 2 ** (attempts - 1), _LONGEST_WAIT)


def _note(store: Store, message: Message, values: Mapping[str, Any]) -> None:
    """Nothing where somebody else has taken it meanwhile."""
    own = and_(notification.c.id == message.number, notification.c.attempts == message.attempts)
    with store.write() as connection:
        connection.execute(update(notification).where(own).values(**values))


def list_notifications(store: Store, public_id: str, limit: int = 100) -> list[dict[str, Any]]:
    """The messages about an experiment, the newest first. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, public_id)
        query = (
            select(notification)
            .where(notification.c.experiment_id == number)
            .order_by(notification.c.id.desc())
            .limit(limit)
        )
        rows = connection.execute(query).mappings().all()
    return [{name: row[name] for name in _SHOWN} | {"id": message_id(row["id"])} for row in rows]


_SHOWN: Final = ("event", "url", "created_at", "attempts", "next_at", "delivered_at", "error")


def forget_old(store: Store, now: datetime | None = None) -> int:
    """Drop messages that were settled long ago, and subscriptions of experiments that are gone; answers how many."""
    before = (now or utc_now()) - KEPT
    is_old = and_(notification.c.next_at.is_(None), notification.c.created_at < before)
    is_held = select(experiment.c.id).where(experiment.c.id == subscription.c.experiment_id).exists()
    with store.read() as connection:
        some = connection.scalar(select(notification.c.id).where(is_old).limit(1))
        gone = connection.scalar(select(subscription.c.experiment_id).where(~is_held).limit(1))
    if some is None and gone is None:
        return 0
    with store.write() as connection:
        dropped = connection.execute(delete(notification).where(is_old)).rowcount
        return dropped + connection.execute(delete(subscription).where(~is_held)).rowcount
