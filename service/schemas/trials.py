"""Answers about trials."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.schemas.bodies import Body
from service.states import TrialState


class TrialBody(Body):
    """One point of a grid with one seed."""

    id: str
    fingerprint: str = Field(description="SHA-256 of the settings, the seed and the kernels' numerical version.")
    state: TrialState
    settings: dict[str, Any] = Field(description="In canonical form: defaults filled in, unread settings dropped.")
    layers: dict[str, str | None] = Field(
        description="Measured layers: number -> name; null in a fully connected network, whose layers have none."
    )
    seed: int
    attempt: int = Field(description="How often it was leased to a dispatcher.")
    failures: int = Field(description="How often it failed by its own fault.")
    error: str | None
    last_step: int | None = Field(description="Step of its last measurement; where a diverged trial ended.")
    final: dict[str, float | str | None] = Field(
        description="Metrics at the last step: `alignment` is the first measured layer's, `alignment[2]` layer 2's."
    )
    provenance: dict[str, Any] | None = Field(
        description="Versions, device, node, whether steps were compiled, seconds, steps per second."
    )
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class AttemptBody(Body):
    """One attempt at a trial."""

    number: int
    dispatcher: str
    host: str | None = Field(description="The machine of its trainer; null before it had one.")
    node: str | None = Field(description="Ray's name of that machine.")
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None = Field(
        description="completed, diverged, failed, cancelled, paused, expired, released, restarted or interrupted; "
        "null while it runs."
    )
    error: str | None


class TrialDetail(TrialBody):
    """A trial with the history of its attempts."""

    definitions: dict[str, int] = Field(
        {}, description="Metric -> version of the definition that its numbers were measured by last."
    )
    attempts: list[AttemptBody]
