"""Half an hour of everything that users do while processes are killed: errors, memory, connections. `make soak`.

Two API processes, two dispatchers, each database in turn. One of each lives throughout and is measured; the others,
trainers and PostgreSQL are killed in turn. NFA_SOAK_MINUTES sets the length.
"""

import collections
import contextlib
import io
import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
import psutil
from deployment import Deployment, Supervised
from nemesis import side, sweep
from processes import wait_until
from scale import in_a_soak

pytestmark = in_a_soak
MINUTES = float(os.environ.get("NFA_SOAK_MINUTES", "30"))
USERS, KEPT = 4, 12
DOCUMENTED = {404, 409, 429, 503}
"""404 and 409 of experiments that another user has deleted or that have ended; 429 and 503 say when to come again."""
GROWTH = 0.05


@dataclass
class Users:
    """People who ask, submit, cancel, export, follow, upload and delete until they are told to stop."""

    root: str
    done: collections.Counter[str] = field(default_factory=collections.Counter)
    errors: list[str] = field(default_factory=list)
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    experiments: list[str] = field(default_factory=list)
    numbers: itertools.count = field(default_factory=itertools.count)
    over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """One user: something, a breath, something else."""
        with httpx.Client(base_url=self.root, timeout=60.0) as http:
            acts: dict[str, Callable[[httpx.Client], httpx.Response]] = {
                "read": self._read,
                "look": self._look,
                "submit": self._submit,
                "cancel": self._cancel,
                "export": self._export,
                "follow": self._follow,
                "upload": self._upload,
            }
            while not self.over.wait(random.uniform(0, 0.15)):
                (name,) = random.choices([*acts], [12, 4, 2, 1, 2, 1, 1])
                try:
                    answer = acts[name](http)
                except httpx.TransportError as error:
                    self.refused[type(error).__name__] += 1
                    continue
                self.done[name] += 1
                if answer.is_error:
                    self.refused[str(answer.status_code)] += 1
                if answer.is_error and answer.status_code not in DOCUMENTED:
                    self.errors.append(f"{name}: {answer.status_code} {answer.url}")

    def _one(self) -> str:
        return random.choice(self.experiments)

    def _read(self, http: httpx.Client) -> httpx.Response:
        one = self._one()
        address = random.choice(
            [
                "experiments",
                f"experiments/{one}",
                f"experiments/{one}/trials?sort=-final.alignment",
                f"experiments/{one}/trials?where=network.depth >= 2 and final.alignment > 0.1",
                f"experiments/{one}/results?group_by=network.depth",
                f"experiments/{one}/curves?group_by=network.depth&running=true",
                f"experiments/{one}/verdicts",
                "cluster",
            ]
        )
        return http.get(f"/api/v1/{address}")

    def _look(self, http: httpx.Client) -> httpx.Response:
        one = self._one()
        pages = ["/", f"/experiments/{one}", f"/experiments/{one}/figure.json", "/cluster", "/submit", "/metrics"]
        return http.get(random.choice(pages))

    def _submit(self, http: httpx.Client) -> httpx.Response:
        made = http.post("/api/v1/experiments", json=side(next(self.numbers)))
        if made.status_code == 201:
            self.experiments.append(made.json()["id"])
        if len(self.experiments) > KEPT:
            # never the sweep itself
            old = self.experiments.pop(1)
            http.post(f"/api/v1/experiments/{old}/cancel")
            return http.delete(f"/api/v1/experiments/{old}")
        return made

    def _cancel(self, http: httpx.Client) -> httpx.Response:
        return http.post(f"/api/v1/experiments/{random.choice(self.experiments[1:] or ['e0'])}/cancel")

    def _export(self, http: httpx.Client) -> httpx.Response:
        form = random.choice(["parquet", "csv", "ndjson", "arrow"])
        return http.get(f"/api/v1/experiments/{self._one()}/measurements?format={form}")

    def _follow(self, http: httpx.Client) -> httpx.Response:
        with http.stream("GET", f"/api/v1/experiments/{self._one()}/events") as stream:
            for _ in zip(range(3), stream.iter_lines(), strict=False):
                pass
            return stream

    def _upload(self, http: httpx.Client) -> httpx.Response:
        file = io.BytesIO()
        np.savez(file, x=np.random.default_rng().normal(size=(20, 4)), y=np.ones((20, 2)))
        headers = {"content-type": "application/x-npz"}
        return http.post("/api/v1/datasets?name=soak", content=file.getvalue(), headers=headers)


@dataclass
class Gauge:
    """Memory and open files of a process that lives throughout, and PostgreSQL's connections."""

    process: psutil.Process
    bytes: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def read(self) -> None:
        """Take a sample; memory is what the process holds for itself."""
        self.bytes.append(self.process.memory_full_info().uss)
        self.files.append(self.process.num_fds())

    def growth(self, samples: list[int]) -> float:
        """Of the median of the last third over that of the second; the first third warms up."""
        third = len(samples) // 3
        return float(np.median(samples[-third:]) / np.median(samples[third : 2 * third]) - 1)


def test_nothing_grows_and_nothing_breaks_in_half_an_hour_of_use_and_kills(deployment: Deployment) -> None:
    os.environ["NFA_REQUESTS_PER_SECOND"] = "10000"
    deployment.start(dispatchers=2)
    second = Supervised(
        "api", deployment.api.command, deployment.api.environment, deployment.folder / "api-2.log", deployment.api.keep
    )
    users = Users(deployment.client.url)
    users.experiments.append(deployment.client.submit(sweep(60_000, seeds=20)).id)
    gauges = {
        "API": Gauge(psutil.Process(deployment.api.process.pid)),
        "dispatcher": Gauge(psutil.Process(deployment.dispatchers[0].process.pid)),
    }
    faults = {
        "API": second.kill,
        "dispatcher": deployment.dispatchers[1].kill,
        "trainer": deployment.kill_trainer,
    }
    if deployment.database is not None:
        faults["database"] = deployment.kill_database
    kills: collections.Counter[str] = collections.Counter()
    threads = [threading.Thread(target=users.work) for _ in range(USERS)]
    for thread in threads:
        thread.start()
    began, pause = time.monotonic(), min(20.0, MINUTES * 60 / 12)
    try:
        for fault, kill in itertools.cycle(faults.items()):
            until = time.monotonic() + pause
            while time.monotonic() < until:
                deployment.tend()
                second.tend()
                for gauge in gauges.values():
                    gauge.read()
                time.sleep(1.0)
            if time.monotonic() - began > MINUTES * 60:
                break
            kill()
            kills[fault] += 1
    finally:
        users.over.set()
        for thread in threads:
            thread.join(90)
        with contextlib.suppress(ProcessLookupError):
            second.kill()
    wait_until(lambda: deployment.tend() or deployment.client.experiment(users.experiments[0]).progress == 1.0, 300)
    counts = deployment.client.experiment(users.experiments[0]).counts

    database = deployment.store_url.partition(":")[0].partition("+")[0]
    print(f"\n  {database}, {MINUTES:g} minutes; killed: {dict(kills)}")
    print(f"  done: {dict(users.done)}\n  refused: {dict(users.refused)}")
    for name, gauge in gauges.items():
        memory, files = gauge.growth(gauge.bytes), gauge.growth(gauge.files)
        print(
            f"  {name:<12} {gauge.bytes[-1] / 2**20:6.0f} MiB, growth {memory:+.1%} (goal < {GROWTH:.0%});"
            f" {gauge.files[-1]} files, growth {files:+.1%}"
        )
    assert users.errors == []
    assert {state: n for state, n in counts.items() if n} == {"completed": 120}
    assert deployment.api.starts == deployment.dispatchers[0].starts == 1
    for gauge in gauges.values():
        assert gauge.growth(gauge.bytes) < GROWTH
        assert gauge.growth(gauge.files) < 0.2
