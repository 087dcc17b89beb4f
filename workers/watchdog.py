"""Ends a process whose main loop has stopped turning, for whatever reason: its supervisor starts another.

A database or a cluster that accepts a request and never answers would hold the loop for ever; no timeout of a driver
covers all of these, and nothing that the process holds counts before it is committed.
"""

import os
import threading
import time

import structlog

log = structlog.get_logger()

EXIT_CODE = 70


class Watchdog:
    """Waits, in a thread of its own, for turns that do not come.

    Args:
        seconds: how long a turn may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._turned = time.monotonic()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def turn(self) -> None:
        """Say that the loop goes round."""
        self._turned = time.monotonic()

    def _watch(self) -> None:
        while (left := self._turned + self.seconds - time.monotonic()) > 0:
            time.sleep(left)
        log.error(
            "dispatcher_stuck",
            seconds=self.seconds,
            next="it ends now, its leases run out, and its supervisor starts another",
        )
        os._exit(EXIT_CODE)
