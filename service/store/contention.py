"""Which failures of a database may pass by themselves: another one holds a lock, or it is full, away or overloaded.

A missing table, a wrong statement or a read-only database do not: told as "try again" they would be tried for ever.
"""

import sqlite3
from typing import Final

import psycopg

_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_POSTGRESQL_CLASSES: Final = ("08", "40", "53", "57")
"""Connections; transactions that were rolled back; too few resources; what the server's operator did."""
_POSTGRESQL: Final = frozenset({"55P03", "25P03", "25P04"})
"""A lock that was not to be had in time; sessions ended because we stood still."""
_CANCELLED: Final = "57014"
_CIRCLE: Final = "40P01"


def may_pass(error: BaseException | None) -> bool:
    """Whether trying again may cure a driver's error."""
    if isinstance(error, sqlite3.Error):
        return _primary(error) in _SQLITE
    if isinstance(error, psycopg.Error):
        if error.sqlstate is None:  # told by the client's side: no connection came about, or it broke
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return error.sqlstate.startswith(_POSTGRESQL_CLASSES) or error.sqlstate in _POSTGRESQL
    return False


def ran_out_of_time(error: BaseException | None) -> bool:
    """Whether a statement was ended because it took too long."""
    if isinstance(error, sqlite3.Error):
        return _primary(error) == sqlite3.SQLITE_INTERRUPT
    return isinstance(error, psycopg.Error) and error.sqlstate == _CANCELLED


def was_a_circle(error: BaseException) -> bool:
    """Whether PostgreSQL gave a transaction up because it and others waited for each other: made again, it goes on."""
    told = getattr(error.__cause__, "orig", None)
    return isinstance(told, psycopg.Error) and told.sqlstate == _CIRCLE


def _primary(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the driver raised without one."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
