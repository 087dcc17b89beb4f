"""Looks at the experiments that streams of events watch, once for all streams of this process.

An experiment is looked at from its first listener to its last. What was seen last stands there for everybody to read:
a listener that is slow misses what lay between, and holds nobody up.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from service.errors import NotFound, StoreUnavailable
from service.states import TrialState
from service.store.experiments import Summary, get_summary
from service.store.session import Store

log = structlog.get_logger()

_LOOK_SECONDS: Final = 1.0
_LOOK_SECONDS_RUNNING: Final = 2.0
"""Steps of running trials are a statement more, and trainers send them as often as this."""
_TIMES_ITS_COST: Final = 20.0
"""A look that takes long is taken seldom: nobody keeps the store busy for more than a twentieth."""


class Seen(NamedTuple):
    """What a look saw."""

    summary: Summary | None
    """None: the experiment is gone."""
    began: float
    """When the look began, by the monotonic clock."""


@dataclass
class Watched:
    """One experiment, as it was seen last by those who watch it."""

    listeners: int = 0
    seen: Seen | None = None
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last listener has gone."""
    is_over: bool = False
    """Nobody looks any more: the service closes, or a look failed as the next one would."""

    def tell(self, seen: Seen | None) -> None:
        """Wake everybody; None: there is nothing new to see."""
        self.seen = seen or self.seen
        told, self._told = self._told, asyncio.Event()
        told.set()

    async def news(self, known: float, seconds: float) -> None:
        """Wait until something is seen that began later than what the caller knows, or for so long."""
        if self.is_over or (self.seen and self.seen.began > known):
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), seconds)


class Watching:
    """The looks of one process.

    Args:
        store: where experiments are.
        threads: that looks may take.
        closing: set when the service closes.
    """

    def __init__(self, store: Store, threads: CapacityLimiter, closing: asyncio.Event) -> None:
        self._store, self._threads, self._closing = store.ahead(), threads, closing
        self._watched: dict[str, Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def look(self, experiment_id: str) -> Seen:
        """Where an experiment stands now. Raises NotFound."""
        began = time.monotonic()
        return Seen(await run_sync(get_summary, self._store, experiment_id, limiter=self._threads), began)

    @contextlib.asynccontextmanager
    async def watch(self, experiment_id: str) -> AsyncGenerator[Watched]:
        """Have an experiment looked at for as long as the block runs."""
        one = self._watched.get(experiment_id)
        if one is None or one.is_over:
            one = self._watched[experiment_id] = Watched()
            task = asyncio.create_task(self._look_again_and_again(experiment_id, one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        one.listeners += 1
        try:
            yield one
        finally:
            one.listeners -= 1
            if not one.listeners:
                one.left.set()
                if self._watched.get(experiment_id) is one:
                    del self._watched[experiment_id]

    async def _look_again_and_again(self, experiment_id: str, one: Watched) -> None:
        pause = _LOOK_SECONDS
        try:
            while True:
                await _first_of(self._closing, one.left, seconds=pause)
                if one.left.is_set() or self._closing.is_set():
                    return
                began = time.monotonic()
                seen = await self._looked(experiment_id, began)
                one.tell(seen)
                is_running = seen and seen.summary and seen.summary.counts[TrialState.RUNNING]
                pause = _LOOK_SECONDS_RUNNING if is_running else _LOOK_SECONDS
                pause = max(pause, _TIMES_ITS_COST * (time.monotonic() - began))
        except Exception:
            # listeners come back, and are told by the look that they begin with
            log.exception("watching_failed", experiment=experiment_id)
        finally:
            one.is_over = True
            one.tell(None)

    async def _looked(self, experiment_id: str, began: float) -> Seen | None:
        """What a look sees; None where the store is away, which may come back."""
        try:
            return await self.look(experiment_id)
        except NotFound:
            return Seen(None, began)
        except StoreUnavailable:
            return None

    async def ended(self) -> None:
        """Wait for the last looks, once the service closes: the store is closed next."""
        await asyncio.gather(*self._tasks)


async def _first_of(*events: asyncio.Event, seconds: float) -> None:
    """Wait for one of several events, at most so long."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
