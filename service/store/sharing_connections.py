"""How a process shares its few connections to PostgreSQL: questions wait for one, and leave some to those who go ahead.

Each connection is a process of the database, which has room for 100 by default: ten API processes and five dispatchers
fit. Threads beyond wait here for each other instead of opening more.
"""

import contextlib
import threading
from collections.abc import Generator
from typing import Final

from service.errors import StoreUnavailable

API_CONNECTIONS: Final = 7
"""Of one API process, its notifier among them, unless told otherwise."""
DISPATCHER_CONNECTIONS: Final = 4
"""Of one dispatcher: its loop takes two while it leases trials with an upload, the thread that commits one."""
FEWEST_CONNECTIONS: Final = 3
RESERVED_CONNECTIONS: Final = 2
"""Of an API process: never taken by questions, so that callers are known, probes answered, streams go on."""
WAIT_SECONDS: Final = 10.0
"""For a connection; then whoever asks is told to try again."""
BUSY: Final = (
    "every connection of this process to the store was busy for so long as one waits for it; try again. "
    "NFA_DATABASE_CONNECTIONS says how many there are"
)


class Turnstile:
    """Lets so many threads through at a time; others wait.

    Args:
        most: at a time.
        seconds: that one waits at most.
    """

    def __init__(self, most: int, seconds: float = WAIT_SECONDS) -> None:
        self._free, self._seconds = threading.BoundedSemaphore(most), seconds

    @contextlib.contextmanager
    def passed(self) -> Generator[None]:
        """Be one of them for as long as the block runs; raises StoreUnavailable where none left for so long."""
        if not self._free.acquire(timeout=self._seconds):
            raise StoreUnavailable(BUSY)
        try:
            yield
        finally:
            self._free.release()
