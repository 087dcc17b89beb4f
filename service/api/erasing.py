"""Tidies in the background: rows follow what was decided, what was deleted goes, counts of gone backends are added up,
and PostgreSQL's planner learns how much was measured.

Every API process looks, one of them does it.
"""

import asyncio
import contextlib
from typing import Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from sqlalchemy.exc import SQLAlchemyError

from service.errors import ServiceError
from service.store.deletions import erase_deleted
from service.store.session import Store
from service.store.settling import settle_all
from service.store.tallies import fold
from service.store.whole_counts import count_wholes

_LOOK_SECONDS: Final = 20.0
"""What another process left behind is found after so long."""
_SETTLE_SECONDS: Final = 1.0
"""What was decided is looked for so often: one row of an index, mostly none."""


async def erase_in_background(store: Store, deleted: asyncio.Event, closing: asyncio.Event) -> None:
    """Erase when something was deleted, and now and then, until the service closes.

    Args:
        store: where it was deleted.
        deleted: set when there is something to erase, and when the service closes.
        closing: set when the service closes: what is not erased by then is erased by another process, or the next.
    """
    thread = CapacityLimiter(1)
    while not closing.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(deleted.wait(), _LOOK_SECONDS)
        deleted.clear()
        if not closing.is_set():
            # a store that does not answer, or has another schema, is told by those who ask it
            with contextlib.suppress(ServiceError, SQLAlchemyError):
                await run_sync(erase_deleted, store, closing.is_set, limiter=thread)
                await run_sync(fold, store, limiter=thread)
                await run_sync(count_wholes, store, limiter=thread)


async def settle_in_background(store: Store, closing: asyncio.Event) -> None:
    """Let trials follow what is decided about their experiments, until the service closes; see `settle_all`."""
    thread = CapacityLimiter(1)
    while not closing.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), _SETTLE_SECONDS)
        with contextlib.suppress(ServiceError, SQLAlchemyError):
            await run_sync(settle_all, store, closing.is_set, limiter=thread)
