"""What the API tells of experiments: the request that made one and, from there to its last row, the trace's root."""

import contextlib
import threading
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from service.errors import ServiceError
from service.states import TrialState
from service.store import traces
from service.store.ids import experiment_number
from service.store.incarnation import present_life
from service.store.session import Store
from service.tracing.receiver import Outcome, Receiver
from service.tracing.spans import ROOT, Span, Value, ids_of, read_traceparent

log = structlog.get_logger()

LOOK_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 5.0
"""After the store did not answer."""
_MOST_WAITING: Final = 1_000
"""Requests; of more the oldest go."""
_SPANS: Final = 2
"""Of a request: its own, and the root of what it made."""
_CLOSE_SECONDS: Final = 2.0
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Submission:
    """A request that made an experiment."""

    experiment: str
    began: datetime
    """When it came, before its body was read."""
    answered: datetime
    route: str
    status: int
    caller: str | None
    """Its `traceparent`."""


class Submissions:
    """Notes which experiments are traced, and tells of them in a thread of its own; several processes tell each once.

    Args:
        store: where experiments are.
        receiver: who is told.
    """

    def __init__(self, store: Store, receiver: Receiver) -> None:
        self._store, self._receiver = store, receiver
        self._new: deque[Submission] = deque()
        self._untold: deque[Span] = deque()
        self._changed = threading.Condition()
        self._is_over = False

    def add(self, one: Submission) -> None:
        """Have it told; returns at once."""
        with self._changed:
            self._new.append(one)
            self._bound()
            self._changed.notify_all()

    def waiting(self) -> int:
        """How many spans would be lost if the process ended now."""
        with self._changed:
            return _SPANS * len(self._new) + len(self._untold)

    def turn(self) -> None:
        """Note and tell what is new, then tell what has ended. Raises ServiceError where the store does not answer."""
        self._note()
        if not self._tell():
            return
        for ended in traces.take_ended(self._store):
            # those that it refuses for good are forgotten: others are not to wait for them
            if self._is_over or self._receiver.take([root_span(present_life(self._store), ended)]) == Outcome.LATER:
                return
            traces.forget(self._store, ended.number)

    def _note(self) -> None:
        """Note which experiments are traced, so that any process can tell of their ends."""
        while True:
            with self._changed:
                if not self._new:
                    return
                one = self._new.popleft()
            # as a header is sent, it may be of any length and hold what PostgreSQL takes for no text
            caller = one.caller if read_traceparent(one.caller) else None
            try:
                traces.begin(self._store, experiment_number(one.experiment), one.began, caller)
                span = request_span(present_life(self._store), one)
            except ServiceError:
                with self._changed:
                    self._new.appendleft(one)
                    self._bound()
                raise
            except Exception:
                self._receiver.lose(_SPANS)
                raise
            with self._changed:
                self._untold.append(span)
                self._bound()

    def _tell(self) -> bool:
        """Tell of requests; whether none of them is to be told later."""
        with self._changed:
            spans = list(self._untold)
        if spans and self._receiver.take(spans) == Outcome.LATER:
            return False
        self._untold.clear()
        return True

    def _bound(self) -> None:
        while len(self._new) > _MOST_WAITING:
            self._new.popleft()
            self._receiver.lose(_SPANS)
        while len(self._untold) > _MOST_WAITING:
            self._untold.popleft()
            self._receiver.lose(1)

    def run(self) -> None:
        """Turn after turn, until it is over."""
        while not self._is_over:
            with self._changed:
                self._changed.wait_for(lambda: self._new or self._is_over, LOOK_SECONDS)
            try:
                self.turn()
            except ServiceError as error:
                log.warning("traces_wait", reason=error.detail, next="they are told once the store answers")
                self._pause()
            except Exception:
                # whatever it is, the next experiment is not to wait for a restart
                log.exception("traces_failed")
                self._pause()
        self._last()

    def _last(self) -> None:
        """Note and tell what came since the last turn; whoever is there later tells of the ends."""
        try:
            self._note()
            self._tell()
        except Exception as error:
            log.warning("traces_wait", reason=str(error)[:300], next="the process ends: they are lost")
        self._receiver.lose(self.waiting())
        self._receiver.close()

    def end(self) -> None:
        """Let the thread end after what it is doing."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_over, _PAUSE_SECONDS)


def request_span(life: str | None, one: Submission) -> Span:
    """Of the request."""
    number = experiment_number(one.experiment)
    return Span(
        f"POST {one.route}",
        ids_of(life, number, "request"),
        ids_of(life, number, ROOT).span,
        nanoseconds(one.began),
        nanoseconds(one.answered),
        {
            "http.request.method": "POST",
            "http.route": one.route,
            "http.response.status_code": one.status,
            "nfa.experiment": one.experiment,
        },
        is_request=True,
        caller=read_traceparent(one.caller),
    )


def root_span(life: str | None, one: traces.EndedTrace) -> Span:
    """From the request to the last row."""
    summary = one.summary
    failed = summary.counts[TrialState.FAILED]
    counts: dict[str, Value] = {f"nfa.trials.{state}": count for state, count in summary.counts.items() if count}
    about: dict[str, Value] = {
        "nfa.experiment": summary.id,
        "nfa.name": summary.name,
        "nfa.owner": summary.owner,
        "nfa.state": summary.state.value,
        "nfa.trials": sum(summary.counts.values()),
    }
    return Span(
        "experiment",
        ids_of(life, one.number, ROOT),
        None,
        nanoseconds(one.began),
        nanoseconds(one.ended),
        about | counts,
        error=f"{failed} of its trials failed" if failed else None,
        caller=read_traceparent(one.caller),
    )


def nanoseconds(time: datetime) -> int:
    """Since 1970."""
    return (time - _START) // timedelta(microseconds=1) * 1_000


@contextlib.contextmanager
def telling(store: Store, receiver: Receiver) -> Generator[Submissions]:
    """Tell in the background for as long as the block runs."""
    made = Submissions(store, receiver)
    thread = threading.Thread(target=made.run, name="traces", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.end()
        # a root that is being sent is sent again by the next process
        thread.join(_CLOSE_SECONDS)
        if thread.is_alive() and (lost := made.waiting()):
            log.warning("traces_dropped", spans=lost)
