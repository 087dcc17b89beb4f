"""Refuses requests that no route should see: bodies that are too large or too slow, and addresses that hold a NUL."""

import asyncio

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problem_answers import answer, problem
from service.errors import InvalidRequest, TooLarge, TooSlow

log = structlog.get_logger()

UPLOAD_PATH = "/api/v1/datasets"


class NoNul:
    """ASGI middleware: answers 422 to a path or query with a NUL, which PostgreSQL's text cannot hold."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at the address only."""
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            error = InvalidRequest("the address holds a NUL character (%00): leave it out")
            await answer(error)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Deadlines:
    """ASGI middleware: a body must arrive in time, and a client must read what it asked for."""

    def __init__(self, app: ASGIApp, body_seconds: float, stall_seconds: float) -> None:
        self.app, self.body_seconds, self.stall_seconds = app, body_seconds, stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 408 to a body that is late; drop a connection that nobody reads from."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        until, complete, started = loop.time() + self.body_seconds, False, False

        async def timely() -> Message:
            nonlocal complete
            if complete:  # waiting for the client to go away may take as long as it likes
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise TooSlow(f"the body did not arrive within {self.body_seconds:g} s: send it at once") from error
            complete = not message.get("more_body", False)
            return message

        async def read(message: Message) -> None:
            nonlocal started
            started = True
            async with asyncio.timeout(self.stall_seconds):
                await send(message)

        try:
            await self.app(scope, timely, read)
        except TooSlow as error:
            if not started:
                await answer(error)(scope, receive, send)
        except TimeoutError:
            log.info("stalled_client_dropped", path=scope["path"][:200])
            raise


class BodyLimit:
    """ASGI middleware: answers 413 as soon as a body is, or says it is, over its limit."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, max_upload_bytes: int) -> None:
        self.app, self.max_body_bytes, self.max_upload_bytes = app, max_body_bytes, max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body while it arrives."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/") == UPLOAD_PATH
        limit = self.max_upload_bytes if is_upload else self.max_body_bytes
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            told = _too_large(limit, int(declared) if declared.isdigit() else 0, is_upload=is_upload)
            await _refusal(told)(scope, receive, send)
            return
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise TooLarge(_too_large(limit, 0, is_upload=is_upload))
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except TooLarge as error:
            if not started:
                await _refusal(error.detail)(scope, receive, send)


def _too_large(limit: int, size: int, *, is_upload: bool) -> str:
    """Why a body is refused: its size, where it said one, the limit, and what to do about an upload."""
    told = f"the body of {size:,} bytes is" if size else "the body is"
    told += f" over the limit of {limit} bytes for this call"
    if not is_upload:
        return told
    share = f" (about {limit / size:.0%} of its rows fit)" if size else ""
    return (
        f"{told} (NFA_MAX_UPLOAD_BYTES): upload fewer rows{share}, or the same in less room: np.savez_compressed, and "
        "float32 or uint8 in place of float64"
    )


def _refusal(told: str) -> Response:
    """The answer to a body over a limit, after which the connection is closed: the rest of the body is not read."""
    error = TooLarge(told)
    return problem(error.status, error.code, error.title, error.detail, headers={"Connection": "close"})
