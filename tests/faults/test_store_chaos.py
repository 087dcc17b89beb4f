"""Workers on one store that are killed and stopped all the time; and the same without the fence, which must fail."""

import contextlib
import io
import os
import random
import signal
import statistics
import time
import uuid
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess

import polars as pl
import pytest
import store_worker
import unguarded
from fastapi.testclient import TestClient
from history import ENDED_BY_ANOTHER, Final, History, violations
from processes import wait_until
from scale import CONTENDED
from store_worker import measured, start

from service.grid.expansion import expand
from service.main import create_app
from service.schemas.trials import TrialDetail
from service.settings import Settings
from service.store import cluster

_WORKERS = 4
Works = Callable[..., None]


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
    """Worker processes, four at any time; killed, or stopped for longer than a lease.

    Between two moments at which trials have ended fewer are disturbed than there are: however slow the machine, one
    of them gets on.
    """

    def __init__(self, works: Works, url: str, lease_seconds: float) -> None:
        self._works, self._url, self._lease_seconds = works, url, lease_seconds
        self._stopped_seconds = 1.5 * lease_seconds
        self.processes = [self._start() for _ in range(_WORKERS)]
        self.stopped: dict[int, float] = {}
        self.ended = 0
        self._disturbed = 0

    def _start(self) -> ForkServerProcess:
        return start(self._url, self._lease_seconds, works=self._works)

    def disturb(self, ended: int) -> None:
        """Kill one or stop one, if so many trials have ended by now; let go on what was stopped for long enough."""
        for place, since in list(self.stopped.items()):
            if time.monotonic() - since > self._stopped_seconds:
                self._signal(place, signal.SIGCONT)
                del self.stopped[place]
        if ended > self.ended:
            self.ended, self._disturbed = ended, 0
        place = random.randrange(_WORKERS)
        if place in self.stopped or self._disturbed == _WORKERS - 1:
            return
        self._disturbed += 1
        if random.random() < 0.2:
            self.processes[place].kill()
            self.processes[place].join()
            self.processes[place] = self._start()
        else:
            self._signal(place, signal.SIGSTOP)
            self.stopped[place] = time.monotonic()

    def _signal(self, place: int, number: int) -> None:
        pid = self.processes[place].pid
        assert pid, "started"
        # without the fence a worker may have ended by itself
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def _lease_seconds(store):
    """As long as a hundred commits take here: leases run out of workers that stand still, not of slow ones."""
    took = []
    for _ in range(5):
        began = time.monotonic()
        cluster.register_dispatcher(store, str(uuid.uuid4()), "here", 1, 1, {})
        took.append(time.monotonic() - began)
    return max(0.6, 100 * statistics.median(took))


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


def _contest(api, store, grid, works):
    """Let workers contend for a grid's trials; what was wrong in the end, and how many trials were disturbed."""
    name = api.post("/experiments", json=grid).json()["id"]
    total = len(expand(grid))
    workers = _Workers(works, store.url.render_as_string(hide_password=False), _lease_seconds(store))

    def is_over() -> bool:
        left = _unfinished(api, name)
        workers.disturb(total - left)
        return left == 0

    try:
        wait_until(is_over, grown=lambda: workers.ended)
    finally:
        workers.end()
    final = _final(api, name)
    steps = final.layers["step"].unique().to_list()
    # a trial's rows are those of the attempt that ended it
    wanted = {one.fingerprint: dict.fromkeys(steps, measured(one.attempt)) for one in final.trials}
    found = violations(History({name: expand(grid)}), {name: final}, wanted)
    return found, sum(one.attempt > 1 for one in final.trials)


def test_whoever_is_killed_or_stopped_attempts_stay_apart(api, store, tiny_grid):
    found, disturbed = _contest(api, store, _grid(tiny_grid, CONTENDED), store_worker.work_for_ever)
    assert found == []
    assert disturbed > 8


def test_without_the_fence_trials_are_ended_by_who_no_longer_holds_them(api, store, tiny_grid):
    for first in range(0, 800, 80):
        found, _ = _contest(api, store, _grid(tiny_grid, 80, first), unguarded.work_for_ever)
        if any(ENDED_BY_ANOTHER in one for one in found):
            return
    raise AssertionError(f"nothing went wrong as it should; in the last round: {found[:5]}")
