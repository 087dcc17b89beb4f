"""An id for every request, and a line in the log for each that may change something or was refused.

The id is the caller's X-Request-ID where that is a plain word, else a fresh one. It is in the answer's header, in every
problem document, and on every line that is logged while the request is answered, by whichever thread.
"""

import re
import uuid
from typing import Final

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.sent import Sent
from service.api.sign_ins import peer_of

log = structlog.get_logger()
HEADER: Final = "X-Request-ID"
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_WORD: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}")


def add_request_log(app: FastAPI) -> None:
    """Number and log the application's requests; the last middleware to be added, so that nothing escapes it."""
    app.add_middleware(RequestLog)
    app.add_middleware(
        CorrelationIdMiddleware, header_name=HEADER, validator=None, transformer=_plain, generator=_fresh
    )


def id_header() -> dict[str, str]:
    """The header with the id, for an answer that is made outside of all middleware."""
    found = correlation_id.get()
    return {HEADER: found} if found else {}


class RequestLog:
    """ASGI middleware: logs requests that may change something, and those that were refused."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the status and who it was, which the access check leaves in the request's state."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        structlog.contextvars.bind_contextvars(request_id=correlation_id.get())
        state = scope.setdefault("state", {})
        sent = Sent(send)
        try:
            await self.app(scope, receive, sent)
        finally:
            if scope["method"] not in READING or sent.status >= 400 or "refusal" in state:
                actor = state.get("actor")
                more = {"owner": actor.owner, "token": actor.token} if actor else {"peer": peer_of(scope)}
                if "refusal" in state:
                    more["code"] = state["refusal"]
                log.info("request", method=scope["method"], path=scope["path"][:200], status=sent.status, **more)


def _plain(given: str) -> str:
    """The id itself, or a fresh one in place of what would not fit into a line of a log."""
    return given if _WORD.fullmatch(given) else _fresh()


def _fresh() -> str:
    return uuid.uuid4().hex
