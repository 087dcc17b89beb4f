"""Few connections for many threads: what a process opens, who waits, and that a database of 100 has room for all."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlalchemy import text

from service.errors import StoreUnavailable
from service.main import create_app
from service.settings import Settings
from service.store.session import open_store
from service.store.sharing_connections import RESERVED_CONNECTIONS, Turnstile
from workers.settings import WorkerSettings

MAX_CONNECTIONS, SUPERUSERS = 100, 3
"""PostgreSQL's defaults: of the server, and what it keeps of these for superusers."""
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def test_ten_api_processes_and_five_dispatchers_fit_what_postgresql_has_by_default():
    api, dispatcher = Settings().database_connections, WorkerSettings().database_connections
    taken = 10 * api + 5 * dispatcher
    # and a backup, an upgrade and somebody who looks
    assert taken <= MAX_CONNECTIONS - SUPERUSERS - 3
    assert api > RESERVED_CONNECTIONS
    told = re.findall(r"\| `NFA_DATABASE_CONNECTIONS` \| (\d+) \|", OPERATIONS.read_text())
    assert told == [str(dispatcher), str(api)]
    assert f"10 x {api} + 5 x {dispatcher} = {taken}" in OPERATIONS.read_text()


@pytest.mark.parametrize("settings", [Settings, WorkerSettings])
@pytest.mark.parametrize("given", ["2", "0", "many"])
def test_too_few_connections_are_refused(settings, given, monkeypatch):
    monkeypatch.setenv("NFA_DATABASE_CONNECTIONS", given)
    with pytest.raises(ValidationError, match="database_connections"):
        settings()


def test_who_waits_too_long_is_told_to_try_again_and_who_leaves_lets_another_in():
    turnstile = Turnstile(1, seconds=0.01)
    with turnstile.passed(), pytest.raises(StoreUnavailable, match=r"try again.*NFA_DATABASE_CONNECTIONS"):
        turnstile.passed().__enter__()
    with pytest.raises(ZeroDivisionError), turnstile.passed():
        raise ZeroDivisionError
    with turnstile.passed():
        pass


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_many_threads_share_the_connections_that_a_process_may_have(store_url):
    most, threads = 5, 40
    with open_store(store_url, connections=most) as store, open_store(store_url) as onlooker:
        together = threading.Barrier(threads)

        def ask(number):
            together.wait(30)
            found = []
            for turn in range(5):
                # a third of them goes ahead, some write
                mine = store.ahead() if number % 3 == 0 else store
                with mine.read() if (number + turn) % 4 else mine.write() as connection:
                    found.append(connection.scalar(_COUNT))
            return max(found)

        with ThreadPoolExecutor(threads) as pool:
            seen = list(pool.map(ask, range(threads)))
        with onlooker.read() as connection:
            kept = connection.scalar(_COUNT) - 1
    # the onlooker comes when all are done
    assert max(seen) <= most
    assert 1 < kept <= most


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_while_questions_take_what_they_may_others_get_503_and_probes_are_answered(store_url):
    with open_store(store_url, connections=3) as store, TestClient(create_app(Settings(), store)) as api:
        api.base_url = "http://127.0.0.1"
        store._turnstile = Turnstile(store.at_once, seconds=0.05)
        with store.read() as held:
            held.execute(text("SELECT 1"))
            refused = api.get("/api/v1/experiments")
            assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
            assert api.get("/readyz").status_code == 200
            assert api.get("/metrics").status_code == 200
        assert api.get("/api/v1/experiments").status_code == 200


_COUNT = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'nfa'")
