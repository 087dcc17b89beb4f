"""Who works on the queue."""

from typing import Any

from fastapi import APIRouter

from service.api.deps import StoreDep
from service.schemas.cluster import ActivityBody, Cluster
from service.store import cluster
from service.store.activity import Activity, activity

router = APIRouter(tags=["cluster"])


@router.get("/cluster", summary="Who works on the queue", response_model=Cluster)
def get_cluster(store: StoreDep) -> dict[str, Any]:
    """Dispatchers with their trainers, and how many trials wait and run."""
    found = cluster.snapshot(store)
    dispatchers = [one._asdict() | {"alive": one.is_alive} for one in found.dispatchers]
    return {"dispatchers": dispatchers, "queued": found.queued, "running": found.running}


@router.get("/cluster/activity", summary="What has lately been done and what waits", response_model=ActivityBody)
def get_activity(store: StoreDep) -> Activity:
    """Trials that ended in the last hour, the queue by owner, failures by reason, and the time left for all of it."""
    return activity(store)
