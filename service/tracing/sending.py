"""Spans wait in memory for a thread that sends them: whoever ends a stack waits for no receiver."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from service.tracing.receiver import Outcome, Receiver
from service.tracing.spans import Span

MOST_WAITING: Final = 4_096
"""Spans; of more the oldest go."""
_TOGETHER: Final = 256
_GATHER_SECONDS: Final = 0.5
"""Spans that end about together go together."""
_AGAIN_SECONDS: Final = 2.0
"""After which one that was away is asked again, twice as long after every further time, up to a minute."""
_LONGEST_SECONDS: Final = 60.0


class Sender:
    """The thread and the spans that wait for it; it ends with the process, at the latest."""

    def __init__(
        self, receiver: Receiver, *, gather_seconds: float = _GATHER_SECONDS, again_seconds: float = _AGAIN_SECONDS
    ) -> None:
        self._receiver, self._gather, self._again = receiver, gather_seconds, again_seconds
        self._waiting: deque[Span] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, spans: Sequence[Span]) -> None:
        """Have spans sent; returns at once."""
        with self._changed:
            self._waiting.extend(spans)
            self._bound()
            self._changed.notify_all()

    def waiting(self) -> int:
        """How many spans wait."""
        with self._changed:
            return len(self._waiting)

    def close(self, seconds: float) -> None:
        """Send what waits, at most so long, and end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _bound(self) -> None:
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._receiver.lose(1)

    def _run(self) -> None:
        failures = 0
        while batch := self._next():
            outcome = self._receiver.take(batch)
            if outcome != Outcome.LATER:
                failures = 0
                continue
            with self._changed:
                self._waiting.extendleft(reversed(batch))
                self._bound()
                if self._is_closing:
                    break
                pause = min(self._again * 2**failures, _LONGEST_SECONDS)
                self._changed.wait_for(lambda: self._is_closing, pause)
            failures += 1
        self._receiver.lose(self.waiting())
        self._receiver.close()

    def _next(self) -> list[Span]:
        """Spans to send together; none once it is closed and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            until = time.monotonic() + self._gather
            self._changed.wait_for(
                lambda: self._is_closing or len(self._waiting) >= _TOGETHER, max(0.0, until - time.monotonic())
            )
            return [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
