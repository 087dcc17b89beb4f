"""Who works on the queue."""

from typing import Any

from fastapi import APIRouter

from service.api.deps import StoreDep
from service.schemas.cluster import Cluster
from service.store import cluster

router = APIRouter(tags=["cluster"])


@router.get("/cluster", summary="Who works on the queue", response_model=Cluster)
def get_cluster(store: StoreDep) -> dict[str, Any]:
    """Dispatchers with their trainers, and how many trials wait and run."""
    found = cluster.snapshot(store)
    dispatchers = [one._asdict() | {"alive": one.is_alive} for one in found.dispatchers]
    return {"dispatchers": dispatchers, "queued": found.queued, "running": found.running}
