"""Waiting until somebody else has written to the store."""

import contextlib
import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

from service.store.session import Store

_LOOK_SECONDS: Final = 0.02
"""Between two looks, each of which takes some microseconds."""


class Watch:
    """Tells when another connection has written to a SQLite file, which notes as much for whoever asks.

    PostgreSQL notes nothing that could be asked for so cheaply: there it waits for as long as it is told to.
    """

    def __init__(self, store: Store) -> None:
        self._connection: sqlite3.Connection | None = None
        if store.dialect == "sqlite" and store.url.database:
            with contextlib.suppress(sqlite3.Error):
                file = Path(store.url.database).absolute().as_uri()
                # asked by the thread that waits, closed by whichever ends
                self._connection = sqlite3.connect(
                    f"{file}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
                )
        self._seen = self._version()

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until somebody has written since the last call, `stop` is set, or so long at most."""
        until = time.monotonic() + seconds
        while not stop.is_set():
            version = self._version()
            if version is None:
                stop.wait(max(0.0, until - time.monotonic()))
                return
            left = until - time.monotonic()
            if version != self._seen or left <= 0:
                self._seen = version
                return
            stop.wait(min(left, _LOOK_SECONDS))

    def _version(self) -> int | None:
        """A number that changes with every commit of another connection; None where there is none."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        return None
