"""The process's environment before Ray is imported: Ray reads its token mode while it loads.

Actors inherit the environment of the process that starts them, so database addresses and tokens are removed.
"""

import contextlib
import os
import secrets
from pathlib import Path

_SECRET_PREFIXES = ("NFA_", "PG", "DATABASE", "AWS_", "AZURE_", "GOOGLE_")
_SECRET_WORDS = ("TOKEN", "HEADERS", "PASSWORD", "PASSWD", "SECRET", "CREDENTIAL", "API_KEY", "APIKEY")
_KEPT = ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "NFA_NATIVE", "NFA_CUDA_GRAPHS")


def prepare(token_path: Path, ray_address: str | None = None) -> None:
    """Set what Ray reads from the environment, and remove what trainers must not see.

    Args:
        token_path: file with Ray's token.
        ray_address: the running cluster to join; None: a local Ray is started.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_path)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    # a head that runs answers at once, or never; one that starts on a busy machine takes its time
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "5" if ray_address else "60")
    # a lost node is noticed in seconds, a lost head within fifteen
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "15")
    os.environ.setdefault("RAY_health_check_period_ms", "1000")
    os.environ.setdefault("RAY_health_check_timeout_ms", "4000")
    os.environ.setdefault("RAY_health_check_failure_threshold", "3")
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
