"""Starts a local Ray or joins a running one, with token authentication and without leaking secrets to actors.

Actors inherit the environment of the process that calls `ray.init`, so database addresses and tokens are removed
first. A dead address would block Ray for minutes, so it is tried with a plain connection before.
"""

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray

_SECRET_PREFIXES = ("NFA_", "PG", "DATABASE", "AWS_", "AZURE_", "GOOGLE_")
_SECRET_WORDS = ("TOKEN", "PASSWORD", "PASSWD", "SECRET", "CREDENTIAL", "API_KEY", "APIKEY")
_KEPT = ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")
_CONNECT_SECONDS = 3.0


class RayUnavailable(RuntimeError):
    """Ray cannot be started or joined; the message says what to do."""


def scrub_environment() -> None:
    """Remove from this process's environment what trainers must not see."""
    for name in list(os.environ):
        upper = name.upper()
        secret = upper.startswith(_SECRET_PREFIXES) or any(word in upper for word in _SECRET_WORDS)
        if secret and name not in _KEPT:
            del os.environ[name]


def ray_token(path: Path) -> Path:
    """The file holding Ray's token, readable by this user alone; made with a fresh token if it does not exist."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def ray_session(address: str | None, token_path: Path, cpus: int | None) -> Iterator[None]:
    """A connection to Ray for as long as the block runs.

    Args:
        address: host:port of a running cluster's GCS; None starts a local Ray that ends with the block.
        token_path: file with the cluster's token; for a local Ray it is made if missing.
        cpus: CPU slots of a local Ray; None: all cores.
    Raises:
        RayUnavailable: no answer at the address, or Ray did not start.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_path)
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "5")
    os.environ.setdefault("RAY_health_check_period_ms", "1000")
    os.environ.setdefault("RAY_health_check_timeout_ms", "5000")
    os.environ.setdefault("RAY_health_check_failure_threshold", "3")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    scrub_environment()
    with _joined(address) if address else _local(token_path, cpus):
        yield


@contextlib.contextmanager
def _local(token_path: Path, cpus: int | None) -> Iterator[None]:
    """A Ray of our own; its files lie in a short path, because socket paths may not pass 107 bytes."""
    ray_token(token_path)
    folder = Path(tempfile.mkdtemp(prefix="nfa-", dir="/tmp"))
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=256 * 2**20,
            _temp_dir=str(folder),
        )
        yield
    except (RuntimeError, OSError, ValueError) as error:
        raise RayUnavailable(f"Ray did not start: {_first_line(error)}. Run `nfa doctor` for what is missing.") from error
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    """A running cluster, whose address answers and whose token fits."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise RayUnavailable(
            f"no Ray answers at {address!r} ({_first_line(error)}). Give NFA_RAY_ADDRESS as host:port of the running "
            "head's GCS, usually port 6379, or unset it to start a local Ray."
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RayUnavailable(
            f"the Ray at {address!r} refused us ({_first_line(error)}). The token in RAY_AUTH_TOKEN_PATH must be the "
            "cluster's, and the versions of Ray and Python must be equal."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
