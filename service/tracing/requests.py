"""ASGI middleware that times requests which make experiments; it is there only where a receiver of traces is set."""

import contextlib
from collections.abc import Callable, Generator
from typing import Final

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.sent import Sent
from service.otlp import read_headers
from service.store.session import Store, utc_now
from service.tracing.receiver import Receiver
from service.tracing.submissions import Submission, Submissions, telling

MADE: Final = "made_experiment"
"""Name in a request's state of the id of the experiment that it made."""


class TracedRequests:
    """Hands over every request that made an experiment, with the time before its body was read."""

    def __init__(self, app: ASGIApp, tell: Callable[[Submission], None]) -> None:
        self.app, self._tell = app, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then tell: nobody waits for it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        began, sent = utc_now(), Sent(send)
        state = scope.setdefault("state", {})
        try:
            await self.app(scope, receive, sent)
        finally:
            if MADE in state:
                caller = Headers(scope=scope).get("traceparent")
                self._tell(Submission(state[MADE], began, utc_now(), scope["path"], sent.status, caller))


def add_traces(app: FastAPI) -> None:
    """Time the application's requests."""

    def tell(one: Submission) -> None:
        # made when the application starts
        app.state.traces.add(one)

    app.add_middleware(TracedRequests, tell=tell)


@contextlib.contextmanager
def tracing(store: Store, endpoint: str | None, headers: SecretStr | None) -> Generator[Submissions | None]:
    """Tell in the background for as long as the block runs, where there is somebody to tell."""
    if endpoint is None:
        yield None
        return
    with telling(store, Receiver(endpoint, read_headers(headers), "api")) as made:
        yield made
