"""Commits blocks in a thread of its own, so that reading, leasing and writing overlap; those that wait go together.

Blocks of a stack are written in their order. One that could not be written would leave a gap in its curves, so that
nothing of its stack is written after it: its trials are queued again once the store answers, and start over.
"""

import threading
import time
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from service.errors import StoreUnavailable
from service.store import reports
from service.store.holders import Pair
from service.store.reports import Report
from service.store.session import Store
from workers.blocks import Block
from workers.running import Running

log = structlog.get_logger()

MOST_TOGETHER: Final = 64
"""Blocks of one transaction."""
MOST_BYTES_TOGETHER: Final = 16 * 2**20
MOST_WAITING_BYTES: Final = 64 * 2**20
"""While more wait nothing is read from trainers, which then wait themselves."""
_AGAIN_SECONDS: Final = 0.5


@dataclass(eq=False)
class Sent:
    """A block on its way into the store."""

    running: Running
    block: Block
    report: Report
    size: int
    """Bytes."""
    gone: frozenset[Pair] = frozenset()
    """Once it is done: attempts that are no longer ours."""
    seconds: float = 0.0
    """Its share of the time that writing took."""
    is_lost: bool = False
    """It could not be written, or one before it."""

    @property
    def pairs(self) -> list[Pair]:
        """Attempts that it reports of."""
        return [self.report.trials[lane] for lane in sorted(self.report.open)]


@dataclass
class Committer:
    """The thread, and the blocks that wait for it.

    A defect that ends the thread is raised to whoever asks next.
    """

    store: Store
    lease_seconds: float
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: list[Sent] = field(default_factory=list)
    _writing: list[Sent] = field(default_factory=list)
    _done: list[Sent] = field(default_factory=list)
    _began: float | None = None
    """When, by the monotonic clock, the call of the store began that has not returned."""
    _closing: bool = False
    _error: BaseException | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="commits", daemon=True)
        self._thread.start()

    def send(self, running: Running, block: Block, report: Report) -> None:
        """Have a block written, after those that wait."""
        with self._changed:
            self._refuse_if_broken()
            self._waiting.append(Sent(running, block, report, _bytes(block)))
            self._changed.notify_all()

    def done(self) -> list[Sent]:
        """Blocks that have been dealt with since this was asked last, in their order."""
        with self._changed:
            self._refuse_if_broken()
            found, self._done = self._done, []
            return found

    def held(self) -> list[Pair]:
        """Attempts with a block on its way."""
        with self._changed:
            return [pair for sent in (*self._writing, *self._waiting) for pair in sent.pairs]

    def is_busy(self) -> bool:
        """Whether a block is on its way."""
        with self._changed:
            return bool(self._writing or self._waiting)

    def has_room(self) -> bool:
        """Whether more should be read."""
        with self._changed:
            return sum(sent.size for sent in (*self._writing, *self._waiting)) < MOST_WAITING_BYTES

    def wait(self, seconds: float, running: Running | None = None) -> bool:
        """Wait, at most so long, until a block, or all of a stack's, have been dealt with; whether they have."""

        def is_over() -> bool:
            if self._error is not None:
                return True
            if running is None:
                return bool(self._done) or not (self._writing or self._waiting)
            return all(sent.running is not running for sent in (*self._writing, *self._waiting))

        with self._changed:
            return self._changed.wait_for(is_over, seconds)

    def stands_still(self, seconds: float) -> bool:
        """Whether one call of the store has taken longer than that."""
        began = self._began
        return began is not None and time.monotonic() - began > seconds

    def close(self, seconds: float) -> None:
        """Write what waits, at most so long, and end; a store that is away is not waited for."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _refuse_if_broken(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while batch := self._next():
                self._write(batch)
                with self._changed:
                    self._writing = []
                    self._done += batch
                    self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _next(self) -> list[Sent]:
        """Blocks to write together; none once it is closed and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            count, size = 0, 0
            for sent in self._waiting[:MOST_TOGETHER]:
                size += sent.size
                if count and size > MOST_BYTES_TOGETHER:
                    break
                count += 1
            self._writing, self._waiting = self._waiting[:count], self._waiting[count:]
            return self._writing

    def _write(self, batch: list[Sent]) -> None:
        """Write blocks, trying again while their leases could still be ours."""
        for sent in batch:
            if sent.running.is_given_up:
                sent.is_lost, sent.gone = True, frozenset(sent.pairs)
        batch = [sent for sent in batch if not sent.is_lost]
        until = time.monotonic() + self.lease_seconds * 2 / 3
        while batch:
            self._began = began = time.monotonic()
            try:
                answers = reports.record_all(self.store, [sent.report for sent in batch], self.lease_seconds)
            except StoreUnavailable as error:
                self._began = None
                log.warning("store_unavailable", error=error.detail)
                for sent in batch:
                    sent.report = replace(sent.report, is_repeat=True)
                if time.monotonic() > until or self._is_closed_within(_AGAIN_SECONDS):
                    return self._give_up(batch)
                continue
            self._began = None
            for sent, gone in zip(batch, answers, strict=True):
                sent.gone = frozenset(pair for pair in sent.pairs if pair[0] in gone)
                sent.seconds = (time.monotonic() - began) / len(batch)
            return None
        return None

    def _is_closed_within(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, seconds)

    def _give_up(self, batch: list[Sent]) -> None:
        for sent in batch:
            sent.is_lost, sent.gone, sent.running.is_given_up = True, frozenset(sent.pairs), True
        trials = len({pair for sent in batch for pair in sent.pairs})
        log.error("stacks_dropped", trials=trials, next="they are queued again once the store answers, and start over")


def _bytes(block: Block) -> int:
    tables = (block.network, block.layers, block.parametrised)
    files = (*block.weights, *block.checkpoints, *block.states)
    return sum(table.nbytes for table in tables) + sum(len(content) for _, _, content in files)
