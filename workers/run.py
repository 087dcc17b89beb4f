"""Puts a dispatcher together: store, Ray, pool, loop."""

import importlib.metadata
import os
import signal
import socket
import threading
import uuid

import ray
import structlog

from service.errors import ServiceError
from service.store import queue, schema
from service.store.session import Store, open_store
from workers.dispatcher import Dispatcher
from workers.pool import Pool
from workers.ray_start import RayUnavailable, ray_session
from workers.settings import WorkerSettings

log = structlog.get_logger()


def run(settings: WorkerSettings, stop: threading.Event) -> int:
    """Dispatch until `stop` is set; the exit code is 1 if the store or Ray is missing, with one line that says why."""
    try:
        with open_store(settings.store_url) as store:
            schema.check(store)
            with ray_session(settings.ray_address, settings.token_path, settings.trainers):
                # after Ray has started, because it installs handlers of its own
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, lambda *_: stop.set())
                _dispatch(store, settings, stop)
    except (ServiceError, RayUnavailable) as error:
        log.error("dispatcher_stopped", error=str(error))
        return 1
    return 0


def _dispatch(store: Store, settings: WorkerSettings, stop: threading.Event) -> None:
    resources = ray.cluster_resources()
    size = settings.trainers or max(1, int(resources.get("CPU", 1)))
    pool = Pool(size, settings.block_seconds, settings.checkpoint_seconds, settings.step_deadline_seconds)
    identity = str(uuid.uuid4())
    has = {"cpus": resources.get("CPU", 0.0), "gpus": resources.get("GPU", 0.0)}
    queue.register_dispatcher(store, identity, socket.gethostname(), os.getpid(), size, has)
    log.info("dispatcher_started", dispatcher=identity, trainers=size)
    provenance = {
        "service": importlib.metadata.version("nfa-service"),
        "ray": ray.__version__,
        "dispatcher": identity,
    }
    Dispatcher(store, pool, settings, identity, provenance, stop).run()
