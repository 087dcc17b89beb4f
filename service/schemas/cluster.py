"""Who works on the queue, and whether the service does."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.schemas.bodies import Body
from service.states import TrialState


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


class BucketBody(Body):
    """Trials that ended within five minutes."""

    began_at: datetime
    ended: dict[TrialState, int] = Field(description="How many, by the state they ended in.")
    steps: int = Field(description="Optimiser steps of these trials, summed.")


class OwnerQueueBody(Body):
    """What waits and runs on behalf of one owner."""

    owner: str
    queued: int
    running: int
    experiments: list[str]


class FailuresBody(Body):
    """Trials that failed for one reason."""

    reason: str = Field(description="The first line of their error.")
    count: int = Field(description="Within a day, among the last thousand that failed.")
    last_at: datetime
    trial: str = Field(description="The last one.")
    experiment: str | None = Field(description="One that holds it.")


class ActivityBody(Body):
    """What has lately been done and what waits, over all experiments."""

    buckets: list[BucketBody] = Field(description="The last hour, by five minutes, the oldest first.")
    queue: list[OwnerQueueBody] = Field(description="By owner, the longest first; what is paused is not in it.")
    failures: list[FailuresBody] = Field(description="Within a day, the most frequent reason first.")
    per_hour: float | None = Field(
        description="Trials that ended within the hour, per hour since it or the first of them began; null before one."
    )
    seconds_left: float | None = Field(
        description="For everything that waits or runs, at that rate of trials: rough where later trials are longer. "
        "0 where nothing is open, null without a rate."
    )


class Health(Body):
    """The process is alive; with `schema`, the store is reachable and current."""

    status: str = "ok"
    schema_revision: str | None = None
