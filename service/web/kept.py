"""Answers that a page keeps: for ended experiments until something runs again, for running ones a little while.

Ten thousand trials with claims take a second to judge, and everybody who watches asks every other second.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

_MOST = 64
_TIMES_ITS_COST = 10.0
_SECONDS = 30.0


class Kept:
    """The last answers, by question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: OrderedDict[Any, tuple[str | None, float, Any]] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="kept")
        self._pending: dict[Any, Future[Any]] = {}

    def get(self, key: Any, version: str | None, make: Callable[[], Any]) -> Any:
        """The answer to a question.

        Args:
            key: the question, hashable.
            version: what the answer is made from, as text; None while that changes by itself: then an answer is kept
                for ten times what it cost, 30 seconds at most.
            make: how to answer anew.
        """
        now = self._clock()
        known = self._known(key, version, now)
        if known is not None:
            return known[2]
        answer = make()
        ended = self._clock()
        until = ended + min(_TIMES_ITS_COST * (ended - now), _SECONDS)
        self._answers[key] = (version, until, answer)
        while len(self._answers) > _MOST:
            self._answers.popitem(last=False)
        return answer

    def _known(self, key: Any, version: str | None, now: float) -> tuple[str | None, float, Any] | None:
        """What is kept and still holds."""
        known = self._answers.get(key)
        return known if known and known[0] == version and (version is not None or now < known[1]) else None

    def soon(self, key: Any, version: str | None, make: Callable[[], Any], wait_seconds: float) -> Any | None:
        """As `get`, but None where the answer takes longer than a page may wait; it is made meanwhile."""
        known = self._known(key, version, self._clock())
        if known is not None:
            return known[2]
        pending = self._pending.get((key, version))
        if pending is None:
            pending = self._pool.submit(self.get, key, version, make)
            self._pending[key, version] = pending
            pending.add_done_callback(lambda _: self._pending.pop((key, version), None))
        wait([pending], wait_seconds)
        return pending.result() if pending.done() else None
