"""Connections to SQLite: one writer at a time, whose log readers look past (WAL)."""

import array
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event

from service.errors import StoreUnusable
from service.store import contention
from service.store.file_systems import shared_mount

CONNECTIONS: Final = 52
"""At most, of a process: 40 threads answer questions, ten more know callers, answer probes and feed streams."""
PATIENCE_SECONDS: Final = 30.0
"""How long a writer waits for others."""
_BUSY_MILLISECONDS: Final = int(1_000 * PATIENCE_SECONDS)
_INSTRUCTIONS: Final = 100_000
"""Of SQLite's virtual machine between two looks at the clock: about a millisecond."""
_PRAGMAS: Final[Sequence[str]] = ("synchronous=FULL", "foreign_keys=ON")
_FULL, _NORMAL = "FULL", "NORMAL"
"""Whether a commit waits until the log is on disk; the next one of the first kind waits for all before it."""


def sqlite_engine(url: Any, begin: str) -> Engine:
    """An engine whose transactions begin so: IMMEDIATE or DEFERRED.

    Its connections raise StoreUnusable where SQLite cannot work, in one line.
    """
    engine = create_engine(url, pool_size=16, max_overflow=CONNECTIONS - 16, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # SQLAlchemy, not the driver, begins transactions; otherwise SELECTs run outside of them
        connection.isolation_level = None
        connection.create_aggregate("nfa_pack", -1, _Packed)
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}").close()
        _keep_a_log(connection, url.database)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        patience = 0 if options.get("at_once") else _BUSY_MILLISECONDS
        if connection.info.get("patience", _BUSY_MILLISECONDS) != patience:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={patience}")
        connection.info["patience"] = patience
        synced = _NORMAL if options.get("synced_later") else _FULL
        if connection.info.get("synced", _FULL) != synced:
            connection.exec_driver_sql(f"PRAGMA synchronous={synced}")
        connection.info["synced"] = synced
        connection.exec_driver_sql(f"BEGIN {begin}")

    return engine


def _keep_a_log(connection: Any, file: str) -> None:
    """Have SQLite keep its write-ahead log, which it does not do on file systems without shared memory or locks."""
    try:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    except sqlite3.DatabaseError as error:
        # "locking protocol" is what some network file systems answer with from the first connection on
        if contention.may_pass(error) and getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_PROTOCOL:
            raise
        raise StoreUnusable(_unusable(file, str(error))) from error
    if mode != "wal":
        raise StoreUnusable(_unusable(file, f"its journal stays {mode!r}, not 'wal'"))


def _unusable(file: str, why: str) -> str:
    mount = shared_mount(Path(file))
    where = f", on {mount.kind} from {mount.source}" if mount else ""
    return (
        f"SQLite cannot keep a store in {file}{where} ({why}): choose a local disk with --home or NFA_HOME, or "
        "PostgreSQL with NFA_DATABASE_URL"
    )


def limit_statements(engine: Engine, seconds: Any) -> None:
    """Give up a statement that takes as long as PostgreSQL's statement_timeout; `seconds` is asked each time."""

    @event.listens_for(engine, "before_cursor_execute")
    def _begin(_connection: Connection, cursor: Any, *_: object) -> None:
        until = time.monotonic() + seconds()
        cursor.connection.set_progress_handler(lambda: time.monotonic() > until, _INSTRUCTIONS)


class _Packed:
    """An SQL aggregate: the numbers of many rows as the bytes of one array; see bulk_reads.py."""

    def __init__(self) -> None:
        self._numbers = array.array("d")

    def step(self, *numbers: float) -> None:
        """Add a row, none of it NULL."""
        self._numbers.extend(numbers)

    def finalize(self) -> bytes:
        """All rows."""
        return self._numbers.tobytes()
