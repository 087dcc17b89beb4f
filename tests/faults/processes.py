"""Real processes: one Ray head for the session, and dispatchers that tests start, kill, stop and continue."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import func, select

from service.store import cluster, experiments
from service.store.measured_models import measurement
from service.store.models import trial
from service.store.session import Store
from workers.environment import ray_token

T = TypeVar("T")
_PACE = {
    # every trainer is a process of its own, which takes two seconds of processor time to load torch
    "NFA_TRAINERS": "1",
    "NFA_LEASE_SECONDS": "4",
    "NFA_HEARTBEAT_SECONDS": "0.5",
    "NFA_SWEEP_SECONDS": "0.5",
    "NFA_BLOCK_SECONDS": "0.1",
    "NFA_CHECKPOINT_SECONDS": "0.3",
}
_PATIENCE = 180.0
"""Seconds without progress: trainers are niced, and beside busy neighbours one takes over a minute to load torch."""
_STARTED = 12
"""Dispatchers and trainers that one test may start; further ones are no progress."""


def wait_until(what: Callable[[], T | None], seconds: float = _PATIENCE, grown: Callable[[], float] = lambda: 0.0) -> T:
    """Look until the answer is true; fails, with the last answer, when `grown` has not passed its highest for so long.

    How long a sweep takes is the machine's business; that it stands still, or starts over and over, is a defect.
    """
    highest, looked = grown(), time.monotonic()
    until = looked + seconds
    while not (answer := what()):
        if (now := grown()) > highest:
            highest, until = now, time.monotonic() + seconds
        assert time.monotonic() < until, f"still {answer!r} after {seconds} s at {highest}"
        # looking must not take the time of what is looked at, nor miss it
        time.sleep(min(0.25, max(0.05, 5 * (time.monotonic() - looked))))
        looked = time.monotonic()
    return answer


def rows(store: Store) -> int:
    """Network rows in the store."""
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(measurement)) or 0


def ended(store: Store, experiment: str) -> bool:
    """Whether every trial of an experiment has ended."""
    return experiments.get_experiment(store, experiment).progress == 1.0


def charged(store: Store) -> int:
    """Failures charged to trials."""
    with store.read() as connection:
        return connection.scalar(select(func.sum(trial.c.failures))) or 0


def trainers(store: Store) -> dict[int, dict[str, Any]]:
    """What the trainers of every dispatcher say of themselves, by process id."""
    found = cluster.list_dispatchers(store)
    return {one["pid"]: one for about in found for one in about.resources.get("trainers", ())}


def progress(store: Store) -> int:
    """How far sweeps have come: dispatchers, trainers, trials leased, failures charged and rows.

    Stages on the way to the first row are counted, since a cold start takes as long as many rows. None of them grows
    for ever where a sweep starts over and over.
    """
    with store.read() as connection:
        leased = connection.scalar(select(func.count()).where(trial.c.attempt > 0)) or 0
    started = len(cluster.list_dispatchers(store)) + len(trainers(store))
    return min(started, _STARTED) + leased + charged(store) + rows(store)


def wait_for_rows(store: Store) -> None:
    """Wait until a sweep is well under way; fails where it makes no progress."""
    wait_until(lambda: rows(store) > 50, grown=lambda: progress(store))


def wait_for_end(store: Store, *submitted: str) -> None:
    """Wait until every trial of these experiments has ended; fails where they make no progress."""
    wait_until(lambda: all(ended(store, one) for one in submitted), grown=lambda: progress(store))


def free_port() -> int:
    """A TCP port that nothing listens on, above those of Ray's workers and below those that the system hands out."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(20_000, 32_768)
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class RayCluster:
    """A Ray head and further nodes, each a `ray start` of its own; token authentication, as docs/operations.md says."""

    folder: Path
    port: int = field(default_factory=free_port)
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.token = ray_token(self.folder / "token")
        self.log = self.folder / "nodes.log"

    @property
    def for_dispatchers(self) -> dict[str, str]:
        """Environment of a dispatcher that joins."""
        return {"NFA_RAY_ADDRESS": f"127.0.0.1:{self.port}", "NFA_RAY_TOKEN_PATH": str(self.token)}

    def start_head(self, cpus: int) -> None:
        """Start the head and wait until it has all that a dispatcher needs."""
        head = self._start(
            "--head",
            f"--port={self.port}",
            f"--num-cpus={cpus}",
            f"--temp-dir={self.folder}",
            "--include-dashboard=false",
            # it scales clusters in clouds
            "--no-monitor",
        )
        wait_until(lambda: head.poll() is not None or "Ray runtime started" in self.log.read_text())
        assert head.poll() is None, self.log.read_text()

    def add_node(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a node beside the head."""
        return self._start(f"--address=127.0.0.1:{self.port}", *options)

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [
            *(str(Path(sys.executable).with_name("ray")), "start", *options, "--disable-usage-stats", "--block"),
            *("--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--include-log-monitor=false"),
        ]
        environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "4000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            "OMP_NUM_THREADS": "1",
        }
        with self.log.open("ab") as log:
            node = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        self.nodes.append(node)
        return node

    def stop(self) -> None:
        """Stop every node, the head last."""
        for node in reversed(self.nodes):
            node.terminate()
            try:
                node.wait(60)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """The session's Ray: a head with two CPUs, to which a test may add nodes."""
    folder = Path(tempfile.mkdtemp(prefix="nfa-", dir="/tmp"))
    cluster = RayCluster(folder)
    cluster.start_head(2)
    yield cluster
    cluster.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_head(ray_cluster: RayCluster) -> dict[str, str]:
    """Environment of a dispatcher that joins the session's Ray."""
    return ray_cluster.for_dispatchers


@dataclass
class DispatcherProcess:
    """A dispatcher in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def pause_between_transactions(self, store: Store) -> bool:
        """Stop the process; false, and it goes on, if that left it holding the lock of a SQLite store."""
        self.signal(signal.SIGSTOP)
        if store.dialect != "sqlite":
            return True
        with contextlib.closing(sqlite3.connect(str(store.url.database), timeout=0, isolation_level=None)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                self.signal(signal.SIGCONT)
                return False
        return True

    def missed_the_store(self) -> float:
        """For how many seconds it has said, so far, that the store does not answer."""
        times = [datetime.fromisoformat(event["timestamp"]) for event in self.events("store_unavailable")]
        return (times[-1] - times[0]).total_seconds() if times else 0.0

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What it has logged so far, or of that what has one of these names; not yet a line that is being written."""
        written, _, _ = self.log.read_text().rpartition("\n")
        found = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
        return [event for event in found if not names or event["event"] in names]


@dataclass
class Dispatchers:
    """Starts dispatchers on one store; whatever still runs is killed at the end of the test."""

    environment: dict[str, str]
    folder: Path
    started: list[DispatcherProcess] = field(default_factory=list)

    def start(self, **more: str) -> DispatcherProcess:
        log = self.folder / f"dispatcher-{len(self.started)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "workers"], env=os.environ | self.environment | more, stderr=file
            )
        self.started.append(DispatcherProcess(process, log))
        return self.started[-1]


@contextlib.contextmanager
def dispatching(store_url: str, ray_head: dict[str, str], folder: Path) -> Generator[Dispatchers]:
    """Starts dispatchers on a store; whatever still runs is killed when the block ends."""
    environment = ray_head | _PACE | {"NFA_DATABASE_URL": store_url, "NFA_HOME": str(folder / "home")}
    found = Dispatchers(environment, folder)
    yield found
    for one in found.started:
        if one.process.poll() is None:
            one.signal(signal.SIGCONT)
            one.process.kill()
        one.process.wait()


@pytest.fixture
def dispatchers(store: Store, store_url: str, ray_head: dict[str, str], tmp_path: Path) -> Iterator[Dispatchers]:
    """Starts dispatchers on the test's store and the session's Ray."""
    with dispatching(store_url, ray_head, tmp_path) as found:
        yield found
