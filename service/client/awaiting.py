"""Lets the blocking client's code wait in asyncio: its one place that waits hands over to the event loop.

The code runs in a greenlet of the task that awaits it. Where it would wait for the network, the greenlet gives the task
what to await, and goes on with the result; a task that is cancelled meanwhile raises there, and what is open is closed.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import greenlet
import httpx

_Result = TypeVar("_Result")


async def driven(work: Callable[[], _Result]) -> _Result:
    """Run code that waits by `awaited`, and answer its result."""
    inner = greenlet.greenlet(work)
    # one set of context variables for both, which a request's id may be among
    inner.gr_context = greenlet.getcurrent().gr_context
    asked: Any = inner.switch()
    while not inner.dead:
        try:
            found = await asked
        except BaseException:
            asked = inner.throw(*sys.exc_info())
        else:
            asked = inner.switch(found)
    return asked


def awaited(something: Awaitable[_Result]) -> _Result:
    """What an awaitable comes to, in code that `driven` runs."""
    outer = greenlet.getcurrent().parent
    if outer is None:
        raise RuntimeError("nothing awaits this code: call it through AsyncClient")
    return outer.switch(something)


def pause(seconds: float) -> None:
    """Let others go on for so long."""
    awaited(asyncio.sleep(seconds))


class Carrier(httpx.BaseTransport):
    """Carries requests by an asyncio transport."""

    def __init__(self, proxy: str | None) -> None:
        self._carrier = httpx.AsyncHTTPTransport(proxy=proxy)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request's answer, whose body comes as it is read."""
        answer = awaited(self._carrier.handle_async_request(request))
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close every connection."""
        awaited(self._carrier.aclose())


class _Body(httpx.SyncByteStream):
    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        pieces = aiter(self._body)
        while (piece := awaited(anext(pieces, None))) is not None:
            yield piece

    def close(self) -> None:
        awaited(self._body.aclose())
