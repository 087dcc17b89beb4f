"""Backs a store up while it is written to, and restores it as a new incarnation (incarnation.py).

SQLite: a copy by SQLite's own backup, one snapshot that no writer waits for. PostgreSQL: pg_dump's custom format.
"""

import os
import tempfile
from pathlib import Path

from sqlalchemy import Connection, Table, inspect, select

from service.errors import BackupRefused
from service.store import incarnation, postgresql_tools, schema, sqlite_copies
from service.store.models import dataset, experiment, token, trial
from service.store.session import Store, open_store

_HEADS = {b"SQLite format 3\x00": "sqlite", b"PGDMP": "postgresql"}


def back_up(store: Store, file: Path, *, replace: bool = False) -> int:
    """Write everything the store knows at one moment into a file that only this user may read; answers its bytes.

    Raises:
        BackupRefused: the file exists and is not to be replaced, or there is nothing to back up.
        SchemaMismatch: the store was written by a newer version.
    """
    if file.exists() and not replace:
        raise BackupRefused(f"{file} exists: name another file, or replace it with --replace")
    with store.read() as connection:
        _refuse_strange(schema.revision(connection), "the store")
    part = _unused(file)
    try:
        if store.dialect == "sqlite":
            sqlite_copies.copy(Path(str(store.url.database)), part)
        else:
            _refuse_pooled(store)
            postgresql_tools.dump(store.url, part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def restore(store: Store, file: Path, *, replace: bool = False) -> None:
    """Make the store what it was when the file was written, brought to this version's schema.

    Dispatchers from before can commit nothing from then on; trials that ran are queued again.

    Raises:
        BackupRefused: the file is no backup of such a store, or the store is not empty and not to be replaced.
        SchemaMismatch: the file was written by a newer version.
    """
    kind = _kind(file)
    if kind != store.dialect:
        raise BackupRefused(f"{file} is a backup of {kind}, and the store is {store.dialect}: restore it into its kind")
    if not replace and not _is_empty(store):
        raise BackupRefused(
            "the store has experiments, data or tokens: restoring would lose them. Back it up, then use --replace"
        )
    if store.dialect == "sqlite":
        _restore_sqlite(store, file)
    else:
        _refuse_strange(postgresql_tools.revision(file), str(file))
        _refuse_pooled(store)
        postgresql_tools.restore(store.url, file)
        _begin_anew(store)


def _refuse_pooled(store: Store) -> None:
    """PostgreSQL's programs change their session (search_path, timeouts), and the pooler lends it to others later."""
    if store.is_pooled():
        raise BackupRefused(
            "NFA_DATABASE_URL leads to a pooler (PgBouncer or the like), to whose other callers pg_dump and pg_restore "
            "would leave their settings: give the address of PostgreSQL itself for this command"
        )


def _restore_sqlite(store: Store, file: Path) -> None:
    """Prepare the new content beside the store's file, then replace the store's in one transaction."""
    target = Path(str(store.url.database))
    part = _unused(target)
    try:
        sqlite_copies.copy(file, part)
        with open_store(f"sqlite:///{part}") as prepared:
            with prepared.read() as connection:
                _refuse_strange(schema.revision(connection), str(file))
            _begin_anew(prepared)
        sqlite_copies.overwrite(part, target)
    finally:
        for name in (part, *(part.with_name(part.name + suffix) for suffix in ("-wal", "-shm"))):
            name.unlink(missing_ok=True)


def _begin_anew(store: Store) -> None:
    schema.upgrade(store)
    with store.write() as connection:
        incarnation.begin(connection)


def _refuse_strange(revision: str | None, what: str) -> None:
    """Refuse what has no schema of ours. Raises SchemaMismatch for a newer one."""
    if revision is None:
        raise BackupRefused(f"{what} has no schema of this service")
    schema.refuse_unknown(revision)


def _kind(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            head = opened.read(16)
    except OSError as error:
        raise BackupRefused(f"{file} cannot be read: {error.strerror}") from error
    for start, kind in _HEADS.items():
        if head.startswith(start):
            return kind
    raise BackupRefused(f"{file} is no backup: `nfa db backup FILE` makes one")


def _is_empty(store: Store) -> bool:
    with store.read() as connection:
        return not any(_has_rows(connection, table) for table in (experiment, trial, dataset, token))


def _has_rows(connection: Connection, table: Table) -> bool:
    if not inspect(connection).has_table(table.name):
        return False
    return connection.execute(select(1).select_from(table).limit(1)).first() is not None


def _unused(file: Path) -> Path:
    """A fresh empty file beside this one, readable by this user alone."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.absolute().parent)
    except OSError as error:
        raise BackupRefused(f"cannot write beside {file}: {error.strerror}") from error
    os.close(descriptor)
    return Path(name)
