"""`python -m workers`: one dispatcher, until SIGTERM or SIGINT."""

import faulthandler
import importlib.metadata
import os
import signal
import socket
import sys
import threading
import uuid

import ray
import structlog

from service.errors import ServiceError
from service.store import queue
from service.store.session import open_store
from workers.dispatcher import Dispatcher
from workers.pool import Pool
from workers.ray_start import RayUnavailable, ray_session
from workers.settings import WorkerSettings

log = structlog.get_logger()


def main() -> int:
    """Run a dispatcher; the exit code is 0 after a stop that was asked for."""
    faulthandler.enable()
    _log_as_json_lines()
    settings = WorkerSettings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    url = settings.database_url or f"sqlite:///{settings.home.absolute() / 'nfa.db'}"
    token = settings.ray_token_path or settings.home.absolute() / "ray_token"
    try:
        with open_store(url) as store, ray_session(settings.ray_address, token, settings.trainers):
            _dispatch(store, settings, stop)
    except (ServiceError, RayUnavailable) as error:
        log.error("dispatcher_stopped", error=str(error))
        return 1
    return 0


def _dispatch(store, settings: WorkerSettings, stop: threading.Event) -> None:
    size = settings.trainers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    pool = Pool(size, settings.block_seconds, settings.step_deadline_seconds)
    identity = str(uuid.uuid4())
    resources = {"cpus": ray.cluster_resources().get("CPU", 0.0), "gpus": ray.cluster_resources().get("GPU", 0.0)}
    queue.register_dispatcher(store, identity, socket.gethostname(), os.getpid(), size, resources)
    log.info("dispatcher_started", dispatcher=identity, trainers=size)
    provenance = {
        "service": importlib.metadata.version("nfa-service"),
        "ray": ray.__version__,
        "dispatcher": identity,
    }
    Dispatcher(store, pool, settings, identity, provenance, stop).run()


def _log_as_json_lines() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
