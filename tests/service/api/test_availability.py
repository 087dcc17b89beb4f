"""What answers while others are in the way: every thread busy, the write lock held, the database only read."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient
from processes import wait_until
from sqlalchemy import event, text

from service.main import create_app
from service.settings import Settings
from service.store import submissions, tokens
from service.store.session import open_store
from service.tokens import Scope

ROOT = "/api/v1/experiments"
WORKERS = 40


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def held(store):
    """A served application whose every worker thread waits inside a question or to ask it, and its address."""
    go_on, begun, waiting = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
    application = create_app(Settings(), store)

    @application.get("/api/v1/held")
    def question() -> str:
        begun.release()
        with store.read() as connection:
            connection.execute(text("SELECT 1"))
            waiting.release()
            assert go_on.wait(60)
        return "done"

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)

    @contextlib.contextmanager
    def hold(headers):
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with ThreadPoolExecutor(WORKERS) as pool:
            asked = [pool.submit(httpx.get, f"{url}/api/v1/held", headers=headers, timeout=60) for _ in range(WORKERS)]
            try:
                for _ in range(WORKERS):
                    assert begun.acquire(timeout=30)
                # the others wait for a connection
                for _ in range(min(WORKERS, store.at_once)):
                    assert waiting.acquire(timeout=30)
                yield url
            finally:
                go_on.set()
        assert {one.result().status_code for one in asked} == {200}

    yield hold
    go_on.set()
    server.should_exit = True
    thread.join(10)


def test_probes_callers_and_streams_are_answered_while_every_thread_is_busy(held, store, expansion):
    made = submissions.create_experiment(store, expansion).id
    secret, another = (tokens.create_token(store, name, Scope.SUBMIT) for name in ("anna", "ben"))
    with held(bearer(secret)) as url, httpx.Client(base_url=url, timeout=10) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.get("/metrics", headers=bearer(another)).status_code == 200
        # a caller that was not heard of before is looked up, and one without a token is refused
        assert client.get("/nothing", headers=bearer(another)).status_code == 404
        assert client.get(ROOT).status_code == 401
        assert client.get(ROOT, headers=bearer(f"nfa_{'A' * 43}")).status_code == 401
        with client.stream("GET", f"{ROOT}/{made}/events", headers=bearer(secret)) as events:
            assert "event: state" in next(text for text in events.iter_lines() if text.startswith("event"))
            if store.dialect == "postgresql":
                with open_store(str(store.url.render_as_string(hide_password=False))) as other, other.read() as looking:
                    mine = "datname = current_database() AND pid <> pg_backend_pid()"
                    opened = looking.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {mine}"))
                assert store.at_once < opened <= Settings().database_connections


def test_reading_needs_no_write_lock(store, store_url, expansion):
    submissions.create_experiment(store, expansion)
    secret = tokens.create_token(store, "reader", Scope.READ)
    with TestClient(create_app(Settings(), store), "http://127.0.0.1") as api, open_store(store_url) as other:
        with other.write() as held:
            held.execute(text("UPDATE token SET owner = owner"))
            began = time.monotonic()
            answer = api.get(f"{ROOT}/e1", headers=bearer(secret))
            assert answer.status_code == 200
            assert time.monotonic() - began < 5  # a writer would wait for 30 s, or 5 on PostgreSQL
        assert tokens.list_tokens(store)[0].last_used_at is None
    with TestClient(create_app(Settings(), store), "http://127.0.0.1") as api:
        api.get(f"{ROOT}/e1", headers=bearer(secret))
    assert tokens.list_tokens(store)[0].last_used_at is not None


def test_a_database_that_can_only_be_read_answers_readers(store, store_url, expansion):
    submissions.create_experiment(store, expansion)
    secret = tokens.create_token(store, "reader", Scope.READ)
    with open_store(store_url) as frozen:
        for engine in {frozen._writer, frozen._reader} if store.dialect == "sqlite" else {frozen._writer}:
            event.listen(engine, "begin", _only_read)
        with TestClient(create_app(Settings(), frozen), "http://127.0.0.1", raise_server_exceptions=False) as api:
            for path in ("/", ROOT, f"{ROOT}/e1", f"{ROOT}/e1/results", f"{ROOT}/e1/trials", "/readyz"):
                assert api.get(path, headers=bearer(secret)).status_code == 200, path
            assert api.post(f"{ROOT}/e1/pause", headers=bearer(secret)).status_code == 403


def _only_read(connection):
    """Before each transaction: what follows may change nothing."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
    else:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
