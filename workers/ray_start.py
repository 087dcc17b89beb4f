"""Starts a local Ray or joins a running one; `environment.prepare` has been called before this module is imported.

A dead address would block Ray for minutes, so it is tried with a plain connection first.

Ray puts the folder it is started in first on the path of every trainer, where a user's own `service.py` would be taken
for ours, so it is started in a folder of its own.
"""

import contextlib
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Generator
from pathlib import Path

import ray

from workers.environment import ray_token

_CONNECT_SECONDS = 3.0
# only mkdtemp makes folders there
_SHORT = Path("/tmp")  # nosec B108
_PREFIX = "nfa-ray-"


class RayUnavailable(RuntimeError):
    """Ray cannot be started or joined; the message says what to do."""


@contextlib.contextmanager
def ray_session(address: str | None, token_path: Path, cpus: int) -> Generator[None]:
    """A connection to Ray for as long as the block runs.

    Args:
        address: host:port of a running cluster's GCS; None starts a local Ray that ends with the block.
        token_path: file with the cluster's token; for a local Ray it is made if missing.
        cpus: CPU slots of a local Ray.
    Raises:
        RayUnavailable: no answer at the address, or Ray did not start.
    """
    with _joined(address) if address else _local(token_path, cpus):
        yield


@contextlib.contextmanager
def _local(token_path: Path, cpus: int) -> Generator[None]:
    """A Ray of our own; its files lie in a short path, because socket paths may not pass 107 bytes."""
    ray_token(token_path)
    remove_orphans()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_SHORT))
    try:
        with contextlib.chdir(folder):
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=256 * 2**20,
                _temp_dir=str(folder),
            )
        yield
    except (RuntimeError, OSError, ValueError) as error:
        raise RayUnavailable(
            f"Ray did not start: {_first_line(error)}. Run `nfa doctor` for what is missing."
        ) from error
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def remove_orphans() -> None:
    """Remove the files of dispatchers that were killed, or lost Ray's head, and so could not do it themselves."""
    for folder in _SHORT.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and folder.stat().st_uid == os.getuid() and not _is_running(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _joined(address: str) -> Generator[None]:
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
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
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
