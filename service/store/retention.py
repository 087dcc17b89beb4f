"""Finds and deletes what nobody needs any more, and gives the room back to the disk."""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import (
    Connection,
    LargeBinary,
    Table,
    Text,
    case,
    cast,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql import ColumnElement

from service.states import TrialState
from service.store.deletions import delete_trials, erase_deleted
from service.store.keys import among
from service.store.measured_models import MEASUREMENT_TABLES, checkpoint, final, kept_state
from service.store.models import (
    attempt,
    dataset,
    dispatcher,
    experiment,
    experiment_trial,
    idempotency,
    remeasurement,
    settings,
    trial,
)
from service.store.session import Store, utc_now
from service.store.settling import settle_all
from service.store.tallies import fold
from service.store.wanting import one_at_a_time

KEYS_KEPT = timedelta(days=7)
"""For so long a repeated Idempotency-Key finds the experiment that it made."""
_DATA_KEPT = timedelta(days=1)
"""An upload is not taken for forgotten before."""
_DISPATCHERS_KEPT = timedelta(hours=1)
_CHUNK = 5_000


@dataclass(frozen=True)
class Waste:
    """Rows of one kind that can go, and the bytes of what they say (indexes and page headers not counted)."""

    what: str
    rows: int
    bytes: int


def collect(store: Store, *, dry_run: bool = False, keys_kept: timedelta = KEYS_KEPT) -> list[Waste]:
    """Delete what nobody needs, or only say what that is: each kind in a transaction of its own."""
    kinds: list[Callable[[Connection, bool], Waste]] = [
        _orphans,
        _checkpoints,
        lambda connection, keep: _plain(
            connection, keep, "expired idempotency keys", idempotency, idempotency.c.created_at < utc_now() - keys_kept
        ),
        _datasets,
        lambda connection, keep: _plain(
            connection,
            keep,
            "dead dispatchers",
            dispatcher,
            dispatcher.c.seen_at < utc_now() - _DISPATCHERS_KEPT,
        ),
    ]
    if not dry_run:
        settle_all(store)
        erase_deleted(store)
        fold(store)
    found = []
    for kind in kinds:
        with store.read() if dry_run else store.write() as connection:
            if not dry_run:
                one_at_a_time(connection)
            found.append(kind(connection, dry_run))
    return found


def _orphans(connection: Connection, keep: bool) -> Waste:
    """Trials that no experiment holds, with all that was measured of them."""
    is_held = select(1).where(experiment_trial.c.trial_id == trial.c.id).exists()
    keys = list(connection.scalars(select(trial.c.id).where(~is_held)))
    size = 0
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        size += _bytes(connection, trial, among(connection, trial.c.id, part))
        for table in (*MEASUREMENT_TABLES, final, attempt, checkpoint, kept_state):
            size += _bytes(connection, table, among(connection, table.c.trial_id, part))
        if not keep:
            delete_trials(connection, part)
    return Waste("trials of no experiment", len(keys), size)


def _checkpoints(connection: Connection, keep: bool) -> Waste:
    """Checkpoints of trials that have ended."""
    is_open = select(1).where(
        trial.c.id == checkpoint.c.trial_id, trial.c.state.in_([TrialState.QUEUED, TrialState.RUNNING])
    )
    keys = list(connection.scalars(select(checkpoint.c.trial_id).where(~is_open.exists())))
    there = among(connection, checkpoint.c.trial_id, keys)
    found = Waste("checkpoints of ended trials", len(keys), _bytes(connection, checkpoint, there))
    if keys and not keep:
        connection.execute(delete(checkpoint).where(there))
        connection.execute(update(trial).where(among(connection, trial.c.id, keys)).values(checkpoint_step=-1))
    return found


def _datasets(connection: Connection, keep: bool) -> Waste:
    """Uploads that no grid and no trial names."""
    named = literal("%").concat(dataset.c.sha256).concat("%")
    is_named = or_(
        select(1).where(cast(settings.c.document, Text).like(named)).exists(),
        select(1).where(cast(experiment.c.grid, Text).like(named)).exists(),
        select(1).where(cast(remeasurement.c.asked, Text).like(named)).exists(),
    )
    condition = dataset.c.created_at < utc_now() - _DATA_KEPT
    keys = list(connection.scalars(select(dataset.c.sha256).where(condition, ~is_named)))
    return _plain(connection, keep, "datasets that nothing names", dataset, dataset.c.sha256.in_(keys))


def _plain(connection: Connection, keep: bool, what: str, table: Table, condition: ColumnElement[bool]) -> Waste:
    """Rows of a table that nothing else hangs on."""
    rows = int(connection.scalar(select(func.count()).select_from(table).where(condition)) or 0)
    found = Waste(what, rows, _bytes(connection, table, condition))
    if rows and not keep:
        connection.execute(delete(table).where(condition))
    return found


def _bytes(connection: Connection, table: Table, condition: ColumnElement[bool]) -> int:
    """Bytes of what rows say: text and files by their length, numbers eight each."""
    sizes = [func.sum(func.coalesce(_size(column), 0)) for column in table.columns]
    return sum(int(size or 0) for size in connection.execute(select(*sizes).where(condition)).one())


def _size(column: ColumnElement[object]) -> ColumnElement[int]:
    if isinstance(column.type, LargeBinary):
        return func.length(column)
    if getattr(column.type, "impl", column.type).__class__ is Text:
        return func.length(cast(column, Text))
    return case((column.is_not(None), 8), else_=0)


def size_on_disk(store: Store) -> int:
    """Bytes of the database's files."""
    if store.dialect == "sqlite":
        file = Path(str(store.url.database))
        return sum(part.stat().st_size for part in (file, Path(f"{file}-wal")) if part.exists())
    with store.read() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


def vacuum(store: Store, *, full: bool = False) -> None:
    """Give the room of deleted rows back.

    SQLite rewrites its file, so writers wait meanwhile. PostgreSQL makes the room usable for new rows while everything
    runs; `full` rewrites its tables and gives it back to the disk, and everything waits meanwhile.
    """
    if store.dialect == "sqlite":
        with contextlib.closing(sqlite3.connect(str(store.url.database), timeout=60, isolation_level=None)) as direct:
            direct.execute("VACUUM").close()
            direct.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        return
    store.outside_transactions(f"VACUUM ({'FULL, ' if full else ''}ANALYZE)", setting="SET statement_timeout = 0")
