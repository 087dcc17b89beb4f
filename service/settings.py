"""Settings of the service, from NFA_* environment variables; SQLite under the home unless told otherwise."""

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.grid.fitting import Limits
from service.otlp import Endpoint, Headers
from service.store.sharing_connections import API_CONNECTIONS, FEWEST_CONNECTIONS


def in_words(error: ValidationError, prefix: str = "NFA_") -> str:
    """What is wrong with settings, in one line that names their variables."""
    return "; ".join(
        # what several of them have to keep to together names them itself
        (f"{prefix}{'_'.join(map(str, one['loc'])).upper()}: " if one["loc"] else "")
        + one["msg"].removeprefix("Value error, ")
        + ("" if one["type"] == "value_error" else f", and was {str(one['input'])[:100]!r}")
        for one in error.errors()
    )


class Settings(BaseSettings):
    """What an operator may set; docs/operations.md explains each."""

    model_config = SettingsConfigDict(env_prefix="NFA_", extra="ignore")

    home: Path = Field(Path(".nfa"), description="Folder of the SQLite file, logs and Ray's token.")
    database_url: str | None = Field(None, description="postgresql://..; unset: SQLite in the home.")
    database_connections: int = Field(
        API_CONNECTIONS, ge=FEWEST_CONNECTIONS, le=1_000, description="Of one API process to PostgreSQL, at most."
    )
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    host_names: Annotated[list[str], NoDecode] = Field(
        [], description="Further names by which an open service may be called, with commas between or as a JSON list."
    )
    forwarded_allow_ips: str = Field(
        "127.0.0.1,::1", description="Reverse proxies whose X-Forwarded headers count: addresses, networks, or *."
    )
    public_url: str | None = Field(None, description="What browsers call the service, with its path prefix.")
    requests_per_second: float = Field(
        200.0, gt=0, description="Of one token, on average; bursts of ten seconds' worth."
    )
    failed_sign_ins_per_minute: float = Field(
        60.0, gt=0, description="Tokens that open nothing, from one address; ten seconds' worth at once."
    )
    max_queued: int = Field(2_000_000, ge=1, description="Unfinished trials of one owner.")
    max_trials: int = Field(1_000_000, ge=1, description="Trials per experiment.")
    max_parameters: int = Field(10_000_000, ge=1, description="Parameters per network.")
    max_network_bytes: int = Field(4 * 2**30, ge=1024, description="Memory that training one network takes, about.")
    max_steps: int = Field(10_000_000, ge=1, description="Steps per trial.")
    max_body_bytes: int = Field(4 * 2**20, ge=1024, description="Body of any request but an upload.")
    max_upload_bytes: int = Field(64 * 2**20, ge=1024, description="Body of an upload.")
    max_uploaded_bytes: int = Field(16 * 2**30, ge=1024, description="All uploads of one owner.")
    max_upload_numbers: int = Field(8 * 2**20, ge=1, description="Numbers in an upload, once unpacked.")

    body_seconds: float = Field(30.0, gt=0, description="For a request's body to arrive.")
    notify_secret: SecretStr | None = Field(None, description="Signs notifications; unset: made once in the home.")
    notify_networks: str = Field("", description="Networks that may be notified although they are not public.")

    stall_seconds: float = Field(60.0, gt=0, description="A client that reads nothing for so long is let go.")
    otlp_endpoint: Endpoint = Field(None, description="Receiver of OpenTelemetry traces; unset: there are none.")
    otlp_headers: Headers = Field(None, description="Sent along with traces, such as Authorization=Bearer%20abc.")

    @field_validator("host_names", mode="before")
    @classmethod
    def _are_names(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given.lstrip().startswith("["):
            return json.loads(given)  # its error is a ValueError
        return [name.strip() for name in given.split(",") if name.strip()]

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _are_addresses(cls, given: str) -> str:
        for word in (word.strip() for word in given.split(",") if word.strip() not in ("", "*")):
            try:
                ipaddress.ip_network(word, strict=False)
            except ValueError as error:
                raise ValueError(f"{word!r} is neither an address, a network such as 10.0.0.0/8, nor *") from error
        return given

    @field_validator("notify_networks")
    @classmethod
    def _are_networks(cls, given: str) -> str:
        for word in _words(given):
            try:
                ipaddress.ip_network(word, strict=False)
            except ValueError as error:
                raise ValueError(f"{word!r} is no network such as 10.0.0.0/8") from error
        return given

    @field_validator("notify_secret")
    @classmethod
    def _is_long(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None and len(given.get_secret_value()) < 16:
            raise ValueError("has fewer than 16 characters: make one by `openssl rand -hex 32`")
        return given

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, given: str | None) -> str | None:
        if given and not re.fullmatch(r"https?://[^/?#@\s]+(/[A-Za-z0-9._~@:%+-]+)*/?", given):
            raise ValueError(f"{given!r} is not an address such as https://nfa.lab.org or https://lab.org/nfa")
        return given or None

    @property
    def store_url(self) -> str:
        """Where the store is."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'nfa.db'}"

    @property
    def allowed_networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """Networks that may be notified although they are not public."""
        return [ipaddress.ip_network(word, strict=False) for word in _words(self.notify_networks)]

    @property
    def limits(self) -> Limits:
        """Limits on a grid."""
        return Limits(self.max_trials, self.max_parameters, self.max_steps, self.max_network_bytes)


def _words(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
