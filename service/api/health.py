"""Liveness and readiness."""

from typing import Any

from fastapi import APIRouter

from service.api.deps import StoreDep
from service.schemas import Health
from service.store import schema

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process is alive", response_model=Health)
def healthz() -> dict[str, Any]:
    """Answered without touching the store."""
    return {"status": "ok"}


@router.get("/readyz", summary="The store is reachable and its schema is current", response_model=Health)
def readyz(store: StoreDep) -> dict[str, Any]:
    """503 with the reason otherwise."""
    return {"status": "ok", "schema_revision": schema.check(store)}
