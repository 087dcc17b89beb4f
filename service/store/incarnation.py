"""Which life of the store this is: a random word that every lease rides on and that restoring a backup replaces.

Attempt numbers alone do not fence across a restore: the restored store hands out numbers that dispatchers from before
may hold. So a dispatcher's every transaction looks whether the store still is the one it began with.
"""

import contextlib
import uuid
from collections.abc import Generator
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, delete, insert, select, update

from service.errors import StoreReplaced
from service.store.models import dispatcher, incarnation, remeasured_trial, runs, trial
from service.store.postgresql_engine import sees_one_state
from service.store.session import Store

_seen: WeakKeyDictionary[object, str | None] = WeakKeyDictionary()
"""The life of each reading transaction that goes on."""


def life_of(connection: Connection) -> str | None:
    """The store's present life, as a transaction sees it; None while a backup is being restored.

    One that reads sees one state of the store, and is asked once.
    """
    transaction = connection.get_transaction()
    if transaction is None or not sees_one_state(connection):
        return connection.scalar(_LIFE)
    if transaction not in _seen:
        _seen[transaction] = connection.scalar(_LIFE)
    return _seen[transaction]


_LIFE: Final = select(incarnation.c.id)


def present_life(store: Store) -> str | None:
    """The store's present life, for what is kept of it."""
    with store.read() as connection:
        return life_of(connection)


@contextlib.contextmanager
def dispatching(store: Store) -> Generator[Connection]:
    """A dispatcher's transaction that may change things; the first one notes the store's incarnation.

    Raises:
        StoreReplaced: a backup was restored since then, or is being restored.
    """
    with store.write() as connection:
        found = life_of(connection)
        if store.incarnation is None:
            store.incarnation = found
        if found is None or found != store.incarnation:
            raise StoreReplaced(
                "a backup was restored while this dispatcher ran, and nothing that it leased before counts: start it "
                "again; its trials are queued"
                if found
                else "a backup is being restored: start the dispatcher again when that has ended. After pg_restore "
                "run `nfa db upgrade`"
            )
        yield connection


def begin_if_none(connection: Connection) -> None:
    """Begin one where restoring a backup was not finished, or was left to pg_restore."""
    if life_of(connection) is None:
        begin(connection)


def begin(connection: Connection) -> None:
    """Begin a new life of the store; those who dispatch for an earlier one can commit nothing from here on."""
    connection.execute(delete(incarnation))
    connection.execute(insert(incarnation).values(id=str(uuid.uuid4())))
    connection.execute(delete(dispatcher))
    # by any dispatcher's next sweep they are queued again
    connection.execute(update(trial).where(runs).values(lease_until=-1.0))
    measuring = remeasured_trial.c.state == "running"
    connection.execute(update(remeasured_trial).where(measuring).values(lease_until=-1.0))
