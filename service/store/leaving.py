"""Ranges of trials that leave together: what was measured of them goes with its tables, not row by row.

A range is marked as leaving where all of its trials belong to experiments that are being erased, and no new trial comes
into it. Trials that are deleted there leave their rows behind. Once no trial is there, the tables are emptied and, in
a moment when nobody reads, dropped. Where some trial stays after all, since somebody submitted it again, the rows that
were left behind are deleted, and the range is as any other. Each step can be repeated after a kill.

Whoever is in the way of this waits for a moment only, and what cannot be had is tried again later.
"""

import contextlib
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, TextClause, delete, select, text, update

from service.errors import StoreUnavailable
from service.store.keys import among
from service.store.models import measured_range
from service.store.partitions import PARTITIONED, Range, next_key
from service.store.session import Store, utc_now

_WAIT: Final = "50ms"
"""While a lock on a table is waited for, those who come after it wait too."""
_CHUNK: Final = 1_000
_UNUSED: Final = timedelta(days=1)
"""A range that was set aside for trials which never came is kept for so long."""
_LINKED: Final = (
    "SELECT 1 FROM experiment_trial link JOIN experiment ON experiment.id = link.experiment_id "
    "WHERE link.trial_id >= first AND link.trial_id < below AND deleted_at"
)
_NO_TRIAL: Final = "NOT EXISTS (SELECT 1 FROM trial WHERE trial.id >= first AND trial.id < below)"
_OWN: Final = (
    "EXISTS (SELECT 1 FROM experiment_trial own WHERE own.experiment_id = :number "
    "AND own.trial_id >= first AND own.trial_id < below)"
)
_MARK: Final = text(
    f"UPDATE measured_range SET leaving = true WHERE NOT leaving AND below <= :next AND {_OWN} "
    f"AND NOT EXISTS ({_LINKED} IS NULL)"
)
_MARK_UNUSED: Final = text(
    "UPDATE measured_range SET leaving = true WHERE NOT leaving AND first > 0 AND below <= :next "
    f"AND created_at < :before AND {_NO_TRIAL}"
)
_IS_AWAITED: Final = text(f"SELECT EXISTS ({_LINKED} IS NOT NULL) FROM measured_range WHERE first = :first")
"""Some trial of the range is still to be deleted, perhaps."""
_IS_EMPTY: Final = text(f"SELECT {_NO_TRIAL} FROM measured_range WHERE first = :first")
_NOTE_EMPTY: Final = text(
    "UPDATE measured_range SET emptied_at = clock_timestamp() "
    f"WHERE first = :first AND leaving AND emptied_at IS NULL AND {_NO_TRIAL}"
)
_IS_SEEN: Final = text(
    "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend' AND backend_xmin IS NOT NULL AND xact_start < :since)"
)
"""Somebody may still see trials that were there before: a table that is emptied is empty for those too."""


def mark(connection: Connection, number: int) -> None:
    """Mark ranges of which nobody holds any trial but experiments that are being erased, this one among them."""
    if connection.dialect.name == "postgresql":
        connection.execute(_MARK, {"number": number, "next": next_key(connection)})


def give_back(store: Store, own: Range | None) -> None:
    """Let a range go that was set aside for trials which did not come."""
    if own is not None:
        with contextlib.suppress(StoreUnavailable), store.write() as connection:
            connection.execute(update(measured_range).where(measured_range.c.first == own.first).values(leaving=True))


def left_behind(connection: Connection, keys: Collection[int]) -> frozenset[int]:
    """Those of these trials, which are being deleted, whose rows go later, with their tables."""
    if connection.dialect.name != "postgresql":
        return frozenset()
    # marked until the transaction ends, or no more when it began
    query = (
        select(measured_range)
        .where(measured_range.c.leaving)
        .order_by(measured_range.c.first)
        .with_for_update(read=True)
    )
    left: set[int] = set()
    for row in connection.execute(query).all():
        some = [key for key in keys if row.first <= key < row.below]
        left.update(some)
        if some and row.emptied_at is not None:
            here = measured_range.c.first == row.first
            connection.execute(update(measured_range).where(here).values(emptied_at=None))
    return frozenset(left)


def finish(store: Store, is_over: Callable[[], bool] = lambda: False) -> None:
    """Go on with ranges that are leaving, as far as that can be done now.

    Args:
        store: where they are.
        is_over: asked between transactions; once it is so, the rest is left.
    Raises:
        StoreUnavailable: the store did not answer.
    """
    if store.dialect != "postgresql":
        return
    with store.write() as connection:
        connection.execute(_MARK_UNUSED, {"next": next_key(connection), "before": utc_now() - _UNUSED})
    with store.read() as connection:
        rows = connection.execute(
            select(measured_range).where(measured_range.c.leaving).order_by(measured_range.c.first)
        ).all()
    for row in rows:
        if is_over():
            return
        one = Range(row.first, row.below)
        with store.read() as connection:
            is_awaited, is_empty = _ask(connection, _IS_AWAITED, one), _ask(connection, _IS_EMPTY, one)
        # who reads there now is not disturbed
        with contextlib.suppress(StoreUnavailable):
            if is_empty:
                _empty(store, one)
                _drop(store, one)
            elif not is_awaited:
                _keep(store, one, is_over)


def _empty(store: Store, one: Range) -> None:
    """Empty the tables of a range without trials, once nobody sees any there."""
    with store.write() as connection:
        connection.execute(_NOTE_EMPTY, {"first": one.first})
    with store.write() as connection:
        row = _held(connection, one)
        if row is None or _is_seen(connection, row) or _is_bare(connection, one):
            return
        connection.execute(text(f"LOCK TABLE {', '.join(_tables(one))} IN ACCESS EXCLUSIVE MODE"))
        # whoever wrote there meanwhile has committed its trial before
        if _ask(connection, _IS_EMPTY, one):
            connection.execute(text(f"TRUNCATE {', '.join(_tables(one))}"))


def _drop(store: Store, one: Range) -> None:
    """Drop the empty tables of a range; the first one's stay."""
    with store.write() as connection:
        row = _held(connection, one)
        if row is None or _is_seen(connection, row) or not _is_bare(connection, one):
            return
        here = measured_range.c.first == one.first
        if one.first == 0:
            connection.execute(update(measured_range).where(here).values(leaving=False, emptied_at=None))
            return
        whole = ", ".join(f"ONLY {table.name}" for table in PARTITIONED)
        connection.execute(text(f"LOCK TABLE {whole} IN ACCESS EXCLUSIVE MODE"))
        if _ask(connection, _IS_EMPTY, one):
            connection.execute(text(f"DROP TABLE {', '.join(_tables(one))}"))
            connection.execute(delete(measured_range).where(here))


def _keep(store: Store, one: Range, is_over: Callable[[], bool]) -> None:
    """Delete the rows that were left behind in a range where other trials stay; it is as any other then."""
    is_left = True
    while is_left and not is_over():
        with store.write() as connection:
            if _held(connection, one) is None:
                return
            keys = astray(connection, one, _CHUNK)
            is_left = bool(keys)
            for table in PARTITIONED:
                connection.execute(delete(table).where(among(connection, table.c.trial_id, keys)))
            if not is_left:
                here = measured_range.c.first == one.first
                connection.execute(update(measured_range).where(here).values(leaving=False, emptied_at=None))


def astray(connection: Connection, one: Range, most: int) -> list[int]:
    """Trials of a range that are not there and have rows; at most so many. One step through the index for a trial."""
    found: set[int] = set()
    for table in _tables(one):
        following = f"SELECT trial_id FROM {table} WHERE trial_id > each.key ORDER BY trial_id LIMIT 1"
        query = (
            f"WITH RECURSIVE each(key) AS ((SELECT trial_id FROM {table} ORDER BY trial_id LIMIT 1) UNION ALL "
            f"SELECT ({following}) FROM each WHERE each.key IS NOT NULL) SELECT key FROM each "
            "WHERE key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM trial WHERE trial.id = key) LIMIT :most"
        )
        found.update(connection.scalars(text(query), {"most": most}))
    return sorted(found)


def _held(connection: Connection, one: Range) -> Any:
    """The row of a range that is leaving, which nobody else changes until the transaction ends; None: somebody does."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT}'"))
    query = select(measured_range).where(measured_range.c.first == one.first, measured_range.c.leaving)
    return connection.execute(query.with_for_update(skip_locked=True)).one_or_none()


def _ask(connection: Connection, question: TextClause, one: Range) -> bool:
    return bool(connection.scalar(question, {"first": one.first}))


def _is_seen(connection: Connection, row: Any) -> bool:
    """Whether trials may be there for somebody."""
    return row.emptied_at is None or bool(connection.scalar(_IS_SEEN, {"since": row.emptied_at}))


def _is_bare(connection: Connection, one: Range) -> bool:
    """Whether the tables of a range take no room."""
    sizes = " + ".join(f"pg_relation_size('{table}')" for table in _tables(one))
    return connection.scalar(text(f"SELECT {sizes}")) == 0


def _tables(one: Range) -> Sequence[str]:
    return [one.name(table.name) for table in PARTITIONED]
