"""Settings of the service, from NFA_* environment variables; SQLite under the home unless told otherwise."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.grid.fitting import Limits


class Settings(BaseSettings):
    """What an operator may set; docs/operations.md explains each."""

    model_config = SettingsConfigDict(env_prefix="NFA_", extra="ignore")

    home: Path = Field(Path(".nfa"), description="Folder of the SQLite file, logs and Ray's token.")
    database_url: str | None = Field(None, description="postgresql://..; unset: SQLite in the home.")
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    host_names: list[str] = Field([], description="Further names by which an open service may be called.")
    requests_per_second: float = Field(
        200.0, gt=0, description="Of one token, on average; bursts of ten seconds' worth."
    )
    failed_sign_ins_per_minute: float = Field(
        60.0, gt=0, description="Tokens that open nothing, from one address; ten seconds' worth at once."
    )
    max_queued: int = Field(2_000_000, ge=1, description="Unfinished trials of one owner.")
    max_trials: int = Field(100_000, ge=1, description="Trials per experiment.")
    max_parameters: int = Field(10_000_000, ge=1, description="Parameters per network.")
    max_network_bytes: int = Field(4 * 2**30, ge=1024, description="Memory that training one network takes, about.")
    max_steps: int = Field(10_000_000, ge=1, description="Steps per trial.")
    max_body_bytes: int = Field(4 * 2**20, ge=1024, description="Body of any request but an upload.")
    max_upload_bytes: int = Field(64 * 2**20, ge=1024, description="Body of an upload.")
    max_upload_numbers: int = Field(8 * 2**20, ge=1, description="Numbers in an upload, once unpacked.")

    body_seconds: float = Field(30.0, gt=0, description="For a request's body to arrive.")
    stall_seconds: float = Field(60.0, gt=0, description="A client that reads nothing for so long is let go.")

    @property
    def store_url(self) -> str:
        """Where the store is."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'nfa.db'}"

    @property
    def limits(self) -> Limits:
        """Limits on a grid."""
        return Limits(self.max_trials, self.max_parameters, self.max_steps, self.max_network_bytes)
