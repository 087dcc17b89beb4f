"""Connections to the store: one code path for SQLite (WAL) and PostgreSQL, and the only place that knows which it is.

SQLite has one writer at a time, so writers take the lock at once (BEGIN IMMEDIATE) and wait for it instead of failing
when they upgrade; readers use a second engine with plain BEGIN and see a snapshot.
"""

import contextlib
import copy
import os
import threading
import time
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, func, make_url, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import QuestionTooSlow, StoreUnavailable
from service.store import contention, file_systems
from service.store.postgresql_engine import BEGIN, READING, WRITING, is_pooled, postgresql_engine
from service.store.sharing_connections import API_CONNECTIONS, BUSY, RESERVED_CONNECTIONS, Turnstile
from service.store.sqlite_engine import CONNECTIONS, PATIENCE_SECONDS, limit_statements, sqlite_engine

STATEMENT_SECONDS = 30.0
"""How long one statement of a question may take."""


_AT_ONCE: Mapping[str, Any] = {"at_once": True}
_LATER: Mapping[str, Any] = {"synced_later": True}


class Store:
    """A database that holds everything the service knows.

    Args:
        url: where it is.
        connections: of this process to PostgreSQL, at most; threads beyond wait for one.
        reserved: of these, for those who go `ahead`.
    """

    def __init__(self, url: str, *, connections: int = API_CONNECTIONS, reserved: int = RESERVED_CONNECTIONS) -> None:
        self.url = make_url(url)
        if self.url.drivername in ("postgresql", "postgres"):
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.dialect = self.url.get_backend_name()
        self.incarnation: str | None = None
        """Under which a dispatcher works; see incarnation.py."""
        self.at_once = CONNECTIONS if self.dialect == "sqlite" else connections - reserved
        """Transactions of this process at a time, but for those who go `ahead`."""
        self._held: Connection | None = None
        self._turnstile: Turnstile | None = None if self.dialect == "sqlite" else Turnstile(self.at_once)
        # threads that wait for each other inside SQLite sleep meanwhile, and whoever just wrote comes first again
        self._turn = threading.Lock() if self.dialect == "sqlite" else None
        if self.dialect == "sqlite":
            self._writer, self._reader = sqlite_engine(self.url, "IMMEDIATE"), sqlite_engine(self.url, "DEFERRED")
            limit_statements(self._reader, lambda: STATEMENT_SECONDS)
        else:
            self._bare = postgresql_engine(self.url, connections)
            # one pool for both
            self._writer = self._bare.execution_options(**{BEGIN: WRITING})
            self._reader = self._bare.execution_options(**{BEGIN: READING})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ahead(self) -> Self:
        """This store for brief questions that others hold up: they may take the connections that are reserved."""
        same = copy.copy(self)
        same._turnstile = None
        return same

    def _admitted(self) -> contextlib.AbstractContextManager[None]:
        return self._turnstile.passed() if self._turnstile else contextlib.nullcontext()

    @contextlib.contextmanager
    def write(self) -> Generator[Connection]:
        """One transaction that may change things: committed at the end of the block, or nothing of it happened."""
        with _translated(), self._admitted(), self._in_turn(PATIENCE_SECONDS), self._writer.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def write_again(self) -> Generator[Connection]:
        """As `write`, for what would be written once more by itself: it is on disk no later than what comes after it.

        Whoever commits does not wait for the disk. A loss of power may take it back, and nothing that was built on it
        stays without it; a killed process takes nothing back.
        """
        writer = self._writer.execution_options(**_LATER)
        with _translated(), self._admitted(), self._in_turn(PATIENCE_SECONDS), writer.begin() as connection:
            if self.dialect == "postgresql":
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    @contextlib.contextmanager
    def write_at_once(self) -> Generator[Connection]:
        """As `write`, for what may be left undone: raises StoreUnavailable where it would have to wait."""
        writer = self._writer.execution_options(**_AT_ONCE)
        with _translated(), self._admitted(), self._in_turn(0.0), writer.begin() as connection:
            if self.dialect == "postgresql":
                connection.exec_driver_sql("SET LOCAL lock_timeout = '1ms'; SET LOCAL synchronous_commit = off")
            yield connection

    @contextlib.contextmanager
    def _in_turn(self, seconds: float) -> Generator[None]:
        """Let this process's writers of a SQLite file wait for each other, at most so long; else StoreUnavailable."""
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=seconds):
            raise StoreUnavailable("the store did not answer: another thread of this process is writing")
        try:
            yield
        finally:
            self._turn.release()

    @contextlib.contextmanager
    def read(self) -> Generator[Connection]:
        """One transaction that only reads, and sees one state of the store.

        Raises:
            QuestionTooSlow: a statement took longer than STATEMENT_SECONDS.
            StoreUnavailable: the store cannot be reached or was busy.
        """
        if self._held is not None:
            yield self._held
            return
        with _translated(is_question=True), self._admitted(), self._reader.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Generator[Self]:
        """This store as it stands now, for several questions of one thread: each sees the same state, in one journey.

        Raises as `read`.
        """
        with self.read() as connection:
            same = copy.copy(self)
            same._held = connection
            yield same

    def outside_transactions(self, statement: str, *, setting: str = "") -> None:
        """Run a statement that PostgreSQL takes only outside of a transaction.

        Args:
            statement: SQL.
            setting: SQL that goes before it, and holds for it alone; left out behind a pooler, where it could meet
                another backend and would stay there.
        """
        with _translated(), self._admitted(), self._bare.connect() as connection:
            if setting and not is_pooled(connection):
                connection.exec_driver_sql(setting)
            connection.exec_driver_sql(statement)
            connection.invalidate()  # what was set goes with it

    def is_pooled(self) -> bool:
        """Whether a pooler stands between us and PostgreSQL."""
        if self.dialect != "postgresql":
            return False
        with self.read() as connection:
            return is_pooled(connection)

    @property
    def warning(self) -> str | None:
        """What is wrong with the place that a SQLite store lies in, where it can be told."""
        return file_systems.warning(Path(self.url.database)) if self.dialect == "sqlite" and self.url.database else None

    def close(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        self._reader.dispose()


def open_store(url: str, *, connections: int = API_CONNECTIONS, reserved: int = RESERVED_CONNECTIONS) -> Store:
    """A store whose database exists or can be made; the schema is not looked at. Arguments as of `Store`."""
    store = Store(url, connections=connections, reserved=reserved)
    if store.dialect == "sqlite" and store.url.database:
        _make_private(Path(store.url.database))
    return store


def utc_now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


def lease_clock(connection: Connection) -> tuple[float, str]:
    """Now in seconds by the clock that leases are kept by, and that clock's id.

    PostgreSQL: the database's clock, the same for every host. SQLite: this machine's clock since boot, which setting
    the time of day does not move; a lease written under another boot has run out.
    """
    if connection.dialect.name == "postgresql":
        return float(connection.scalar(select(func.extract("epoch", func.clock_timestamp()))) or 0.0), "database"
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock), _boot_id()


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "boot"


def _make_private(file: Path) -> None:
    """Make the file, readable by this user alone, in a folder of the same kind."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write {file}: {error.strerror}. Choose a folder you may write with --home or NFA_HOME."
        ) from error


@contextlib.contextmanager
def _translated(*, is_question: bool = False) -> Generator[None]:
    """Database exceptions that trying again may cure become StoreUnavailable; others are defects and pass."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable(BUSY) from error
    except DBAPIError as error:
        if is_question and contention.ran_out_of_time(error.orig):
            raise QuestionTooSlow(
                f"the question took longer than {STATEMENT_SECONDS:g} s: ask about fewer trials with `where`, about "
                "fewer metrics, or about one experiment at a time"
            ) from error
        if error.connection_invalidated or contention.may_pass(error.orig):
            raise StoreUnavailable(f"the store did not answer: {_first_line(error)}") from error
        raise


def _first_line(error: SQLAlchemyError) -> str:
    return (str(getattr(error, "orig", error)).strip().splitlines() or ["no message"])[0][:200]
