"""Real processes: one Ray head for the session, and dispatchers that tests start, kill, stop and continue."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import func, select

from service.store import experiments
from service.store.models import measurement, trial
from service.store.session import Store
from workers.environment import ray_token

T = TypeVar("T")
_PACE = {
    "NFA_LEASE_SECONDS": "4",
    "NFA_HEARTBEAT_SECONDS": "0.5",
    "NFA_SWEEP_SECONDS": "0.5",
    "NFA_BLOCK_SECONDS": "0.1",
    "NFA_CHECKPOINT_SECONDS": "0.3",
}


def wait_until(what: Callable[[], T | None], seconds: float = 60.0) -> T:
    """Look until the answer is true; fails, with the last answer, when time is up."""
    until = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < until, f"still {answer!r} after {seconds} s"
        time.sleep(0.05)
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


def _answers(port: int) -> bool:
    """Whether something listens there; a dispatcher gives up after three seconds."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def ray_head() -> Iterator[dict[str, str]]:
    """Environment of a dispatcher that joins the session's Ray: two CPUs, token authentication."""
    folder = Path(tempfile.mkdtemp(prefix="nfa-", dir="/tmp"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = ray_token(folder / "token")
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "OMP_NUM_THREADS": "1"}
    ray = Path(sys.executable).with_name("ray")
    start = f"{ray} start --head --port={port} --num-cpus=2 --include-dashboard=false --disable-usage-stats"
    options = ["--node-ip-address=127.0.0.1", f"--temp-dir={folder}", "--object-store-memory=100000000", "--block"]
    head = subprocess.Popen(
        [*start.split(), *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: _answers(port))
    yield {"NFA_RAY_ADDRESS": f"127.0.0.1:{port}", "NFA_RAY_TOKEN_PATH": str(token)}
    head.terminate()
    head.wait(20)
    shutil.rmtree(folder, ignore_errors=True)


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

    def events(self) -> list[dict[str, Any]]:
        """Its log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


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


@pytest.fixture
def dispatchers(store: Store, store_url: str, ray_head: dict[str, str], tmp_path: Path) -> Iterator[Dispatchers]:
    """Starts dispatchers on the test's store and the session's Ray."""
    environment = ray_head | _PACE | {"NFA_DATABASE_URL": store_url, "NFA_HOME": str(tmp_path / "home")}
    found = Dispatchers(environment, tmp_path)
    yield found
    for one in found.started:
        if one.process.poll() is None:
            one.signal(signal.SIGCONT)
            one.process.kill()
        one.process.wait(20)
