"""Server-sent events of one experiment: where it stands, whenever that changes.

Every event is a whole snapshot and its id names that snapshot, so nothing has to be kept to resume: who comes back with
the id of the present state waits for the next change, and anybody else gets the present state at once.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from starlette.responses import StreamingResponse

from service.api.watching import Seen, Watching
from service.states import ExperimentState
from service.store.experiments import Summary

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["experiments"])
ENDED: Final = frozenset({ExperimentState.COMPLETED, ExperimentState.FAILED, ExperimentState.CANCELLED})
_KINDS: Final = ("state", "progress", "end", "deleted")
_RETRY_MILLISECONDS: Final = 1_000
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
    last_event_id: Annotated[str | None, Header(max_length=200, description="Of the last event that came.")] = None,
) -> Response:
    """Events `state` (`{"state", "before"}`) and `progress` (`{"state", "counts", "progress", "eta_seconds"}`).

    `end` follows when every trial has ended, `deleted` when the experiment is gone; then the stream ends.
    """
    watching: Watching = request.app.state.watching
    first = await watching.look(experiment_id)
    if first.summary and first.summary.state in ENDED and last_event_id == snapshot_id(first.summary):
        return Response(status_code=204)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    stream = _events(watching, experiment_id, first, last_event_id, request.app.state.closing)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def snapshot_id(one: Summary) -> str:
    """Names a snapshot: its state, how many trials are in each, and how far they are in percent."""
    return f"{one.state.value}:{'-'.join(str(count) for count in one.counts.values())}:{one.progress:.0%}"


async def _events(
    watching: Watching, experiment_id: str, first: Seen, known: str | None, closing: asyncio.Event
) -> AsyncGenerator[str]:
    started = spoken = time.monotonic()
    seen, told = first, first.began
    yield f"retry: {_RETRY_MILLISECONDS}\n\n"
    async with watching.watch(experiment_id) as watched:
        while not closing.is_set() and time.monotonic() - started < _LONGEST_SECONDS:
            current = seen.summary
            if current is None:
                yield _event("deleted", {"id": experiment_id})
                return
            if snapshot_id(current) != known:
                before = known.partition(":")[0] if known else None
                # whoever comes back with an id that is none of ours knows no state
                before = before if before in list(ExperimentState) else None
                if before != current.state.value:
                    yield _event("state", {"state": current.state, "before": before})
                known, spoken = snapshot_id(current), time.monotonic()
                # the id goes with the last event of a snapshot: whoever misses it is told again
                yield _event("progress", _progress(current), known)
            if current.state in ENDED:
                yield _event("end", {"state": current.state})
                return
            if time.monotonic() - spoken > _QUIET_SECONDS:
                spoken = time.monotonic()
                yield ": still here\n\n"
            await watched.news(told, _QUIET_SECONDS)
            if watched.is_over:
                return
            # a look that was under way when this stream's own began is older than that
            if watched.seen and watched.seen.began > told:
                seen, told = watched.seen, watched.seen.began


def _progress(one: Summary) -> dict[str, Any]:
    return {"state": one.state, "counts": one.counts, "progress": one.progress, "eta_seconds": one.eta_seconds}


def _event(kind: str, data: dict[str, Any], identity: str | None = None) -> str:
    lines = [f"event: {kind}", f"data: {json.dumps(data, allow_nan=False)}"]
    return "\n".join([*([f"id: {identity}"] if identity else []), *lines, "", ""])
