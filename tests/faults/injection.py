"""Calls that fail in turn: of a database driver or of Ray, before or after they took effect."""

import contextlib
import functools
import sqlite3
import threading
from collections.abc import Callable, Generator
from typing import Any, Literal

import psycopg
import ray
import ray.actor
from ray.exceptions import RaySystemError

from service.store.session import Store

When = Literal["before", "after", "done"]


class Countdown:
    """Lets the n-th call from now on fail.

    Calls are counted in every thread, in `calls`; `left` below zero means that the failure has happened.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.left = -1
        self.when: When = "done"
        self._lock = threading.Lock()

    def arm(self, number: int, when: When) -> None:
        """Let call `number`, 0 being the next one, fail before or after it takes effect."""
        with self._lock:
            self.left, self.when = number, when

    @property
    def is_over(self) -> bool:
        """Whether the failure has happened."""
        return self.left < 0

    def guard(self, call: Callable[..., Any], error: Callable[[], Exception]) -> Callable[..., Any]:
        """The same call, failing in its turn."""

        @functools.wraps(call)
        def counted(*args: Any, **more: Any) -> Any:
            with self._lock:
                self.calls += 1
                self.left = max(self.left - 1, -1)
                fails = self.left < 0 and self.when != "done"
                when, self.when = self.when, "done" if fails else self.when
            if fails and when == "before":
                raise error()
            answer = call(*args, **more)
            if fails:
                raise error()
            return answer

        return counted


@contextlib.contextmanager
def failing_database(store: Store) -> Generator[Countdown]:
    """Statements and commits of a store that fail in turn, as a broken connection lets them fail."""
    countdown = Countdown()
    dialects = {id(engine.dialect): engine.dialect for engine in (store._writer, store._reader)}
    names = ("do_execute", "do_executemany", "do_commit")
    for dialect in dialects.values():
        for name in names:
            call = countdown.guard(getattr(dialect, name), _lost if store.dialect == "postgresql" else _locked)
            setattr(dialect, name, call)
    try:
        yield countdown
    finally:
        for dialect in dialects.values():
            for name in names:
                delattr(dialect, name)


def _lost() -> Exception:
    """What psycopg raises where the connection is gone: it has no SQLSTATE."""
    return psycopg.OperationalError("injected")


def _locked() -> Exception:
    """What sqlite3 raises where another process holds the file."""
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


@contextlib.contextmanager
def failing_ray() -> Generator[Countdown]:
    """Calls of Ray that fail in turn."""
    countdown = Countdown()
    places: list[tuple[Any, str]] = [(ray, name) for name in ("get", "wait", "kill", "cluster_resources")]
    places.append((ray.actor.ActorMethod, "_remote"))
    saved = [(place, name, getattr(place, name)) for place, name in places]
    for place, name, call in saved:
        setattr(place, name, countdown.guard(call, lambda: RaySystemError("injected")))
    try:
        yield countdown
    finally:
        for place, name, call in saved:
            setattr(place, name, call)
