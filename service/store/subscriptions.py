"""Who wants to be told of what: noted as an experiment is submitted, and again when some of it runs again."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, update

from service.grid.notify import read_notify
from service.grid.problems import Problems
from service.store.models import subscription


def subscribe(connection: Connection, number: int, written: Sequence[Any]) -> None:
    """Note whom a grid wants told; its `notify` was checked when it was read."""
    rows = [
        {"experiment_id": number, "url": hook.url, "event": event, "is_open": True}
        for hook in read_notify(written, Problems())
        for event in hook.on
    ]
    if rows:
        connection.execute(insert(subscription), rows)


def rearm(connection: Connection, number: int, event: str | None = None) -> None:
    """Tell of an event, or of all, once more: something of the experiment runs again, or is claimed anew."""
    change = update(subscription).where(subscription.c.experiment_id == number)
    if event is not None:
        change = change.where(subscription.c.event == event)
    connection.execute(change.values(is_open=True))
