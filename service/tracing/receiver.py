"""The receiver of traces: what it is sent, whether it took it; the log says when it goes and when it is back."""

import importlib.metadata
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

import structlog

from service.otlp import PATH
from service.tokens import is_loopback
from service.tracing.spans import Span, Value

if TYPE_CHECKING:
    import httpx

log = structlog.get_logger()

_SECONDS: Final = 5.0
"""To connect, and to answer."""
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same may be taken later."""


class Outcome(Enum):
    """What became of spans that were sent."""

    TAKEN = "taken"
    LATER = "later"
    """It is away, or has no room: the same may be taken later."""
    NEVER = "never"
    """It was there and would not have them."""


_NEXT: Final = {
    Outcome.LATER: "they are sent when it takes them; the oldest go first",
    Outcome.NEVER: "what it refuses is lost, and what comes later is tried: mend NFA_OTLP_ENDPOINT or NFA_OTLP_HEADERS",
}


class Receiver:
    """An address that takes OTLP by HTTP; nothing is imported, and no connection made, before the first span is sent.

    Args:
        endpoint: to which `/v1/traces` is added.
        headers: sent along, never logged.
        process: api or dispatcher, which receivers show.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str], process: str) -> None:
        self._url, self._headers = endpoint + PATH, headers
        self._resource: dict[str, Value] = {
            "service.name": "nfa",
            "service.version": importlib.metadata.version("nfa-service"),
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            "nfa.process": process,
        }
        self._client: httpx.Client | None = None
        self._is_away = False
        self._lock = threading.Lock()
        self.dropped = 0
        """Spans that are lost."""
        self._told = 0
        """Of those, how many the log has spoken of."""

    def take(self, spans: Sequence[Span]) -> Outcome:
        """Send spans, and say what became of them; those that it will never have are counted, and the log is told."""
        outcome, refused, why = self.ask(spans)
        if outcome == Outcome.TAKEN:
            self._back()
        else:
            self._away(outcome, why)
        if refused:
            self.lose(refused)
        if refused and outcome == Outcome.TAKEN:
            self._told += refused
            log.warning("traces_refused", spans=refused, reason=why)
        return outcome

    def ask(self, spans: Sequence[Span]) -> tuple[Outcome, int, str]:
        """Send spans; answers what became of them, how many it will never have, and why. Raises nothing."""
        import httpx  # noqa: PLC0415

        from service.tracing.messages import refused_spans  # noqa: PLC0415

        try:
            answer = self._post(spans)
        except (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError) as error:
            return Outcome.LATER, 0, f"{type(error).__name__}: {error}"[:300]
        except Exception as error:
            # a proxy of a kind that httpx has no package for, an address that it reads otherwise: whatever it is, the
            # next spans are not to wait for a restart. Messages of others may repeat a header or a proxy's password
            said = f": {error}" if isinstance(error, ImportError) else ""
            return Outcome.NEVER, len(spans), f"nothing could be sent: {type(error).__name__}{said}"[:300]
        status = answer.status_code
        if status in _AGAIN:
            return Outcome.LATER, 0, f"it answered {status}"
        if not 200 <= status < 300:
            return Outcome.NEVER, len(spans), f"it answered {status}, after which the same is not sent again"
        try:
            refused, why = refused_spans(answer.content)
        except ValueError:
            # it took them, in words of its own
            refused, why = 0, ""
        return Outcome.TAKEN, refused, why[:300]

    def _post(self, spans: Sequence[Span]) -> "httpx.Response":
        """Its answer. Raises whatever httpx and protobuf do."""
        import httpx  # noqa: PLC0415

        from service.tracing.messages import MEDIA_TYPE, request_body  # noqa: PLC0415

        if self._client is None:
            # a proxy would look for this machine's own receiver on its own machine
            through = not is_loopback(httpx.URL(self._url).host)
            self._client = httpx.Client(timeout=_SECONDS, follow_redirects=False, trust_env=through)
        headers = {**self._headers, "content-type": MEDIA_TYPE, "user-agent": "nfa-service"}
        return self._client.post(self._url, content=request_body(spans, self._resource), headers=headers)

    def lose(self, spans: int) -> None:
        """Count spans that it will never have."""
        with self._lock:
            self.dropped += spans

    def close(self) -> None:
        """End its connection, and say what was lost."""
        if self._client is not None:
            self._client.close()
        if self.dropped > self._told:
            log.warning("traces_dropped", spans=self.dropped - self._told)
            self._told = self.dropped

    def _away(self, outcome: Outcome, reason: str) -> None:
        if not self._is_away:
            log.warning("traces_wait", reason=reason, next=_NEXT[outcome])
        self._is_away = True

    def _back(self) -> None:
        if self._is_away:
            log.info("traces_sent_again", dropped=self.dropped - self._told)
            self._told = self.dropped
        self._is_away = False
