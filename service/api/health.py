"""Liveness and readiness."""

from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request

from service.api.deps import StoreDep
from service.api.reserved_threads import threads_of
from service.schemas.cluster import Health
from service.store import schema

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process is alive", response_model=Health)
async def healthz() -> dict[str, Any]:
    """Answered without touching the store, and while every thread is busy."""
    return {"status": "ok"}


@router.get("/readyz", summary="The store is reachable and its schema is current", response_model=Health)
async def readyz(store: StoreDep, request: Request) -> dict[str, Any]:
    """503 with the reason otherwise."""
    revision = await run_sync(schema.check, store.ahead(), limiter=threads_of(request).probes)
    return {"status": "ok", "schema_revision": revision}
