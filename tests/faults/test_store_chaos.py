"""Workers on one store that are killed and stopped all the time; and the same without the fence, which must fail."""

import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient
from history import Final, History, violations
from scale import CONTENDED
from store_worker import LEASE_SECONDS, measured

from service.grids import expand
from service.main import create_app
from service.schemas import TrialDetail
from service.settings import Settings

_HERE = Path(__file__).parent
_WORKERS = 4
_STOPPED_SECONDS = 1.5 * LEASE_SECONDS


@pytest.fixture
def api(store):
    """Calls the REST API."""
    settings = Settings(requests_per_second=1e6)
    with TestClient(create_app(settings, store), base_url="http://127.0.0.1/api/v1") as client:
        yield client


def _grid(tiny_grid, seeds, first=0):
    grid = tiny_grid(seeds=list(range(first, first + seeds)), name="contested")
    grid["trial"]["measure"] = {"every": 1}
    return grid


class _Workers:
    """Worker processes, four at any time; killed, or stopped for longer than a lease."""

    def __init__(self, script: str, url: str) -> None:
        self._command = [sys.executable, str(_HERE / script), url]
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_HERE), str(_HERE.parents[1])])}
        self.processes = [self._start() for _ in range(_WORKERS)]
        self.stopped: dict[int, float] = {}

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, env=self._environment, stderr=subprocess.DEVNULL)

    def disturb(self) -> None:
        """Kill one or stop one; let go on what was stopped for long enough."""
        for place, since in list(self.stopped.items()):
            if time.monotonic() - since > _STOPPED_SECONDS:
                self.processes[place].send_signal(signal.SIGCONT)
                del self.stopped[place]
        place = random.randrange(_WORKERS)
        if place in self.stopped:
            return
        if random.random() < 0.2:
            self.processes[place].kill()
            self.processes[place].wait(10)
            self.processes[place] = self._start()
        else:
            self.processes[place].send_signal(signal.SIGSTOP)
            self.stopped[place] = time.monotonic()

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)


def _unfinished(api, name):
    counts = api.get(f"/experiments/{name}").json()["counts"]
    return counts["queued"] + counts["running"]


def _final(api, name) -> Final:
    """The experiment as the API tells it."""
    trials, cursor = [], None
    while not trials or cursor:
        page = api.get(f"/experiments/{name}/trials", params={"limit": 200} | ({"cursor": cursor} if cursor else {}))
        trials += [one["id"] for one in page.json()["items"]]
        cursor = page.json()["next_cursor"]
    details = [TrialDetail.model_validate(api.get(f"/trials/{one}").json()) for one in trials]
    rows = api.get(f"/experiments/{name}/measurements", params={"format": "parquet"}).content
    return Final(details, pl.read_parquet(io.BytesIO(rows), columns=["trial_id", "step", "layer", "alignment"]))


def _contest(api, url, grid, script):
    """Let workers contend for a grid's trials; what was wrong in the end, and how many trials were disturbed."""
    name = api.post("/experiments", json=grid).json()["id"]
    workers = _Workers(script, url)
    until = time.monotonic() + 180
    try:
        while _unfinished(api, name):
            assert time.monotonic() < until
            time.sleep(0.2)
            workers.disturb()
    finally:
        workers.end()
    final = _final(api, name)
    steps = final.layers["step"].unique().to_list()
    # a trial's rows are those of the attempt that ended it
    wanted = {one.fingerprint: dict.fromkeys(steps, measured(one.attempt)) for one in final.trials}
    found = violations(History({name: expand(grid)}), {name: final}, wanted)
    return found, sum(one.attempt > 1 for one in final.trials)


def test_whoever_is_killed_or_stopped_attempts_stay_apart(api, store_url, tiny_grid):
    found, disturbed = _contest(api, store_url, _grid(tiny_grid, CONTENDED), "store_worker.py")
    assert found == []
    assert disturbed > 8


def test_without_the_fence_the_same_goes_wrong(api, store_url, tiny_grid):
    rounds = (_grid(tiny_grid, 80, first) for first in range(0, 800, 80))
    assert any(_contest(api, store_url, grid, "unguarded.py")[0] for grid in rounds)
