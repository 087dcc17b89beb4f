"""Copies of SQLite files by SQLite's own backup, through Python's `sqlite3` like everything else on them."""

import contextlib
import os
import sqlite3
from collections.abc import Generator
from pathlib import Path

from service.errors import BackupRefused

_BUSY_SECONDS = 30.0


def copy(source: Path, target: Path) -> None:
    """Copy one snapshot of a database that others may be writing to into a file of its own, and see that it is sound.

    Raises BackupRefused where it is not.
    """
    try:
        with _opened(source) as original, _opened(target) as made:
            original.backup(made)
            # one file, with no journal beside it
            made.execute("PRAGMA journal_mode=DELETE").close()
            found = made.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise BackupRefused(f"{source} cannot be copied: {error}") from error
    if found != "ok":
        raise BackupRefused(f"{source} is damaged: {found[:200]}. Restore an older backup")
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def overwrite(source: Path, target: Path) -> None:
    """Replace a database's content in one transaction; processes that have it open see the new one from then on."""
    try:
        with _opened(source) as prepared, _opened(target) as live:
            live.execute("PRAGMA journal_mode=WAL").close()
            prepared.backup(live)
    except sqlite3.Error as error:
        raise BackupRefused(
            f"{target} cannot be overwritten: {error}. Stop the service, move the file and those that begin with its "
            "name away, and restore again"
        ) from error


@contextlib.contextmanager
def _opened(file: Path) -> Generator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        yield connection
