"""Who works on the queue, and whether the service does."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.schemas.bodies import Body


class DispatcherBody(Body):
    """A dispatcher and what it has."""

    id: str
    host: str
    pid: int
    slots: int = Field(description="Trainers that run at once.")
    alive: bool = Field(description="Whether it has been heard of within the last 20 seconds.")
    started_at: datetime
    seen_at: datetime
    resources: dict[str, Any]


class Cluster(Body):
    """Who works on the queue."""

    dispatchers: list[DispatcherBody]
    queued: int
    running: int


class Health(Body):
    """The process is alive; with `schema`, the store is reachable and current."""

    status: str = "ok"
    schema_revision: str | None = None
