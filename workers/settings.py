"""Settings of a dispatcher, read from the environment before it is scrubbed."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.otlp import Endpoint, Headers
from service.store.sharing_connections import DISPATCHER_CONNECTIONS, FEWEST_CONNECTIONS


class WorkerSettings(BaseSettings):
    """Read from NFA_* variables; docs/operations.md says what each one does."""

    model_config = SettingsConfigDict(env_prefix="NFA_", extra="ignore")

    home: Path = Path(".nfa")
    database_url: str | None = None
    database_connections: int = Field(
        DISPATCHER_CONNECTIONS, ge=FEWEST_CONNECTIONS, le=1_000, description="To PostgreSQL, at most."
    )
    ray_address: str | None = Field(None, description="host:port of a running Ray; unset: start a local one.")
    ray_token_path: Path | None = Field(None, description="File with Ray's token; default: HOME/ray_token.")
    trainers: int | None = Field(
        None,
        ge=0,
        description="CPU trainers; default: one per CPU of the cluster, or that may be used here.",
    )
    trainers_per_gpu: int = Field(1, ge=1, le=100, description="Trainers that share a GPU.")
    lease_seconds: float = Field(30.0, gt=0)
    heartbeat_seconds: float = Field(5.0, gt=0)
    sweep_seconds: float = Field(5.0, gt=0)
    block_seconds: float = Field(2.0, gt=0)
    checkpoint_seconds: float = Field(60.0, ge=0)
    kept_state_bytes: int = Field(4 * 2**30, ge=0, description="Of all states that trials kept; the oldest go.")
    step_deadline_seconds: float = Field(60.0, gt=0)
    silence_factor: float = Field(
        10.0,
        ge=1,
        description="A trainer that answers and sends nothing for this many times what a step and a measurement of its "
        "stack should take is ended; never before the step deadline.",
    )
    ping_seconds: float = Field(5.0, gt=0)
    idle_poll_seconds: float = Field(0.1, gt=0)
    stuck_seconds: float = Field(120.0, gt=0)
    max_trials: int = Field(1_000_000, ge=1, description="Trials of one experiment, as for the service.")
    max_queued: int = Field(2_000_000, ge=1, description="Unfinished trials of one owner, as for the service.")
    otlp_endpoint: Endpoint = Field(None, description="Receiver of OpenTelemetry traces; unset: there are none.")
    otlp_headers: Headers = Field(None, description="Sent along with traces.")

    @model_validator(mode="after")
    def _lease_outlasts_heartbeats(self) -> Self:
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            raise ValueError(
                f"NFA_LEASE_SECONDS is {self.lease_seconds:g}: a lease that outlasts a late heartbeat is at least "
                f"three of them, {3 * self.heartbeat_seconds:g} with NFA_HEARTBEAT_SECONDS={self.heartbeat_seconds:g}"
            )
        return self

    @property
    def store_url(self) -> str:
        """Where the store is: SQLite in the home unless told otherwise."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'nfa.db'}"

    @property
    def token_path(self) -> Path:
        """File with Ray's token."""
        return (self.ray_token_path or self.home / "ray_token").absolute()
