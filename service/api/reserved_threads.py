"""Threads that questions cannot take: while those are busy, callers are known, probes answered, streams go on."""

from typing import NamedTuple

from anyio import CapacityLimiter
from fastapi import Request


class ReservedThreads(NamedTuple):
    """How many calls of a kind wait for the store at a time, beside the 40 that answer questions."""

    callers: CapacityLimiter
    """Look up who holds a token."""
    probes: CapacityLimiter
    """Readiness and metrics."""
    streams: CapacityLimiter
    """Look where experiments stand, for those who watch them."""


def reserved_threads() -> ReservedThreads:
    """Those of one application."""
    return ReservedThreads(CapacityLimiter(4), CapacityLimiter(2), CapacityLimiter(4))


def threads_of(request: Request) -> ReservedThreads:
    """Those of the application that answers a request."""
    return request.app.state.threads
