"""Liveness, readiness, and who works on the queue."""

from typing import Any

from fastapi import APIRouter

from service.api.deps import StoreDep
from service.schemas import Cluster, Health
from service.states import TrialState
from service.store import cluster, schema

router = APIRouter(tags=["health"])
cluster_router = APIRouter(tags=["cluster"])


@router.get("/healthz", summary="The process is alive", response_model=Health)
def healthz() -> dict[str, Any]:
    """Answered without touching the store."""
    return {"status": "ok"}


@router.get("/readyz", summary="The store is reachable and its schema is current", response_model=Health)
def readyz(store: StoreDep) -> dict[str, Any]:
    """503 with the reason otherwise."""
    return {"status": "ok", "schema_revision": schema.check(store)}


@cluster_router.get("/cluster", summary="Who works on the queue", response_model=Cluster)
def get_cluster(store: StoreDep) -> dict[str, Any]:
    """Dispatchers with their trainers, and how many trials wait and run."""
    counts = cluster.queue_counts(store)
    found = [one._asdict() | {"alive": one.is_alive} for one in cluster.list_dispatchers(store)]
    return {"dispatchers": found, "queued": counts[TrialState.QUEUED], "running": counts[TrialState.RUNNING]}
