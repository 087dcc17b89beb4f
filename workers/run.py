"""Puts a dispatcher together: store, Ray, pool, loop."""

import importlib.metadata
import os
import signal
import socket
import threading
import uuid

import ray
import structlog

from service.allowance import allowance
from service.errors import ServiceError
from service.heap import settle_heap
from service.store import cluster, schema
from service.store.session import Store, open_store
from workers.dispatcher import Dispatcher
from workers.pool import Pool
from workers.ray_start import RayUnavailable, ray_session
from workers.settings import WorkerSettings
from workers.sharing import Sharing, cluster_of
from workers.traces import traces_of
from workers.watchdog import Watchdog

log = structlog.get_logger()


def run(settings: WorkerSettings, stop: threading.Event) -> int:
    """Dispatch until `stop` is set; the exit code is 1 if the store or Ray is missing, with one line that says why."""
    watchdog = Watchdog(settings.stuck_seconds)
    try:
        with open_store(settings.store_url, connections=settings.database_connections, reserved=0) as store:
            schema.check(store)
            cluster.refuse_two_machines(store)
            if store.warning:
                log.warning("store_on_shared_file_system", detail=store.warning)
            with ray_session(settings.ray_address, settings.token_path, _local_cpus(settings)):
                # after Ray has started, because it installs handlers of its own
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, lambda *_: stop.set())
                _dispatch(store, settings, stop, watchdog)
    except (ServiceError, RayUnavailable) as error:
        log.error("dispatcher_stopped", error=str(error))
        return 1
    return 0


def _local_cpus(settings: WorkerSettings) -> int:
    """CPUs of a local Ray. It would take all of the machine's by itself, whatever this process may use."""
    if settings.trainers is not None:
        return settings.trainers
    allowed = allowance()
    if settings.ray_address is None:
        log.info("trainers_allowed", trainers=allowed.trainers, why=allowed.why)
    return allowed.trainers


def _dispatch(store: Store, settings: WorkerSettings, stop: threading.Event, watchdog: Watchdog) -> None:
    identity = str(uuid.uuid4())
    sharing = Sharing(store, identity, settings, cluster_of(settings))
    wanted = sharing.wanted()
    pool = Pool(
        settings.block_seconds,
        settings.checkpoint_seconds,
        settings.step_deadline_seconds,
        settings.ping_seconds,
        settings.trainers_per_gpu,
    )
    pool.follow(wanted)
    cluster.register_dispatcher(store, identity, socket.gethostname(), os.getpid(), len(pool.seats), sharing.told)
    log.info("dispatcher_started", dispatcher=identity, trainers=len(pool.seats), gpu_trainers=wanted.gpu)
    settle_heap()
    provenance = {
        "service": importlib.metadata.version("nfa-service"),
        "ray": ray.__version__,
        "dispatcher": identity,
    }
    Dispatcher(store, pool, settings, identity, provenance, watchdog, stop, traces_of(settings, store)).run()
