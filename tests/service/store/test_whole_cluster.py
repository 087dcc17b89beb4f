"""Ten API processes and five dispatchers at once, on a PostgreSQL that has room for a hundred connections."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from reports import lease, report
from sqlalchemy import text

from service.grid.expansion import expand
from service.main import create_app
from service.settings import Settings
from service.store import cluster, leases, reports, submissions
from service.store.session import open_store
from workers.settings import WorkerSettings

APIS, DISPATCHERS = 10, 5
CALLERS = 8
"""Of each API process, at a time: more than it has connections."""
QUESTIONS = (
    "/api/v1/experiments",
    "/api/v1/experiments/{id}",
    "/api/v1/experiments/{id}/trials",
    "/readyz",
    "/metrics",
)


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_ten_api_processes_and_five_dispatchers_at_once_are_refused_nothing(store, store_url, tiny_grid):
    made = submissions.create_experiment(store, expand(tiny_grid(seeds=40))).id
    most, begin = [0], threading.Barrier(APIS * CALLERS + DISPATCHERS * 2)
    stores = [open_store(store_url, connections=Settings().database_connections) for _ in range(APIS)]
    own = WorkerSettings().database_connections
    working = [open_store(store_url, connections=own) for _ in range(DISPATCHERS)]

    def ask(api):
        begin.wait(60)
        return [api.get(path.format(id=made)).status_code for path in QUESTIONS]

    def work(number):
        """A dispatcher's loop: it leases, and what it leased ends."""
        begin.wait(60)
        ended = 0
        while leased := lease(working[number], f"d{number}", lanes=4):
            assert not reports.record(working[number], report(leased, [0, 20], ends=True), 30.0)
            ended += len(leased)
        return ended

    def beat(number):
        """Its other thread."""
        begin.wait(60)
        for _ in range(20):
            leases.renew_all(working[number], f"d{number}", 30.0)
            cluster.beat(working[number], f"d{number}", 1, {})
            with store.read() as looking:
                most[0] = max(most[0], looking.scalar(_TAKEN))
        return 0

    with contextlib.ExitStack() as opened:
        settings = Settings(requests_per_second=1e6)
        apis = [opened.enter_context(TestClient(create_app(settings, one), "http://127.0.0.1")) for one in stores]
        pool = opened.enter_context(ThreadPoolExecutor(APIS * CALLERS + DISPATCHERS * 2))
        asked = [pool.submit(ask, api) for api in apis for _ in range(CALLERS)]
        worked = [pool.submit(does, number) for does in (work, beat) for number in range(DISPATCHERS)]
        answers = {status for one in asked for status in one.result(120)}
        ended = sum(one.result(120) for one in worked)
    for one in (*stores, *working):
        one.close()
    assert answers == {200}
    assert ended == 80
    # they were there at the same time
    assert 50 <= most[0] <= 100


_TAKEN = text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
