"""Server-sent events of one experiment: where it stands, whenever that changes.

Every event is a whole snapshot and its id names that snapshot, so nothing has to be kept to resume: who comes back with
the id of the present state waits for the next change, and anybody else gets the present state at once.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from starlette.responses import StreamingResponse

from service.api.deps import StoreDep
from service.api.reserved_threads import threads_of
from service.errors import NotFound, StoreUnavailable
from service.states import ExperimentState
from service.store.experiments import Summary, get_summary
from service.store.session import Store

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["experiments"])
ENDED: Final = frozenset({ExperimentState.COMPLETED, ExperimentState.FAILED, ExperimentState.CANCELLED})
_KINDS: Final = ("state", "progress", "end", "deleted")
_POLL_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 15.0
"""After so long without a change a comment is sent, so that what lies between does not take the line for dead."""
_LONGEST_SECONDS: Final = 900.0
"""Then the stream ends, and browsers come back by themselves: nobody stays on a token that was revoked."""


@router.get(
    "/events",
    summary="Progress, as it happens",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A stream of events: `event`, `data` as JSON, and the `id` to come back with",
            "content": {
                "text/event-stream": {
                    "schema": {
                        "type": "object",
                        "description": "One event of the stream. The data of each kind of event is under x-events.",
                        "required": ["event", "data"],
                        "properties": {
                            "event": {"type": "string", "enum": list(_KINDS)},
                            "data": {"type": "string", "contentMediaType": "application/json"},
                            "id": {"type": "string"},
                        },
                        "x-events": {name: {"$ref": f"#/components/schemas/{name.title()}Event"} for name in _KINDS},
                    }
                }
            },
        },
        204: {"description": "It has ended, and the caller knows: do not come back"},
    },
)
async def events(
    experiment_id: str,
    request: Request,
    store: StoreDep,
    last_event_id: Annotated[str | None, Header(max_length=200, description="Of the last event that came.")] = None,
) -> Response:
    """Events `state` (`{"state", "before"}`) and `progress` (`{"state", "counts", "progress", "eta_seconds"}`).

    `end` follows when every trial has ended, `deleted` when the experiment is gone; then the stream ends.
    """
    threads, store = threads_of(request).streams, store.ahead()
    first = await run_sync(get_summary, store, experiment_id, limiter=threads)
    if first.state in ENDED and last_event_id == snapshot_id(first):
        return Response(status_code=204)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    stream = _events(store, threads, first, last_event_id, request.app.state.closing)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def snapshot_id(one: Summary) -> str:
    """Names a snapshot: its state, how many trials are in each, and how far they are in percent."""
    return f"{one.state.value}:{'-'.join(str(count) for count in one.counts.values())}:{one.progress:.0%}"


async def _events(
    store: Store, threads: CapacityLimiter, first: Summary, known: str | None, closing: asyncio.Event
) -> AsyncGenerator[str]:
    started = spoken = time.monotonic()
    current: Summary | None = first
    yield f"retry: {int(_POLL_SECONDS * 2000)}\n\n"
    while not closing.is_set() and time.monotonic() - started < _LONGEST_SECONDS:
        if current is not None and snapshot_id(current) != known:
            before = known.partition(":")[0] if known else None
            # whoever comes back with an id that is none of ours knows no state
            before = before if before in list(ExperimentState) else None
            if before != current.state.value:
                yield _event("state", {"state": current.state, "before": before})
            known, spoken = snapshot_id(current), time.monotonic()
            # the id goes with the last event of a snapshot: whoever misses it is told again
            yield _event("progress", _progress(current), known)
        if current is not None and current.state in ENDED:
            yield _event("end", {"state": current.state})
            return
        if time.monotonic() - spoken > _QUIET_SECONDS:
            spoken = time.monotonic()
            yield ": still here\n\n"
        asked = time.monotonic()
        try:
            current = await run_sync(get_summary, store, first.id, limiter=threads)
        except NotFound:
            yield _event("deleted", {"id": first.id})
            return
        except StoreUnavailable:
            current = None
        # a large experiment takes long to count: no listener keeps the store busy for more than a twentieth
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), max(_POLL_SECONDS, 20 * (time.monotonic() - asked)))


def _progress(one: Summary) -> dict[str, Any]:
    return {"state": one.state, "counts": one.counts, "progress": one.progress, "eta_seconds": one.eta_seconds}


def _event(kind: str, data: dict[str, Any], identity: str | None = None) -> str:
    lines = [f"event: {kind}", f"data: {json.dumps(data, allow_nan=False)}"]
    return "\n".join([*([f"id: {identity}"] if identity else []), *lines, "", ""])
