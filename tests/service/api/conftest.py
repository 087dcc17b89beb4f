"""The application on a fresh store of each database, called without a network."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from processes import wait_until

from service.cli.api_process import ApiServer, configured
from service.main import create_app
from service.settings import Settings
from service.store import leases, reports
from service.store.datasets import arrays_for
from service.store.reports import End, Report
from service.store.session import Store
from workers.blocks import Lane, Stack
from workers.training import train

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def api(store: Store) -> Iterator[TestClient]:
    """Calls the REST API; an unexpected error is answered, as it would be in operation."""
    settings = Settings(max_trials=2_000, max_body_bytes=64 * 1024, max_upload_bytes=256 * 1024)
    with TestClient(create_app(settings, store), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def submit(api: TestClient, tiny_grid: Callable[..., dict[str, Any]]) -> Submit:
    """Submits a grid of quick trials; keyword arguments replace top-level keys."""

    def post(**more: Any) -> dict[str, Any]:
        answer = api.post("/api/v1/experiments", json=tiny_grid(**more))
        assert answer.status_code == 201, answer.text
        return answer.json()

    return post


@pytest.fixture
def train_queue(store: Store) -> Callable[[], None]:
    """Leases, trains and records everything that waits, in this process: the dispatcher's calls without Ray."""

    def work() -> None:
        while leased := leases.lease_stack(
            store, "here", lease_seconds=600.0, choose=lambda s, waiting: waiting.trials
        ):
            lanes = tuple(Lane(one.settings, one.seed) for one in leased)
            is_first = True
            for block in train(Stack(lanes, arrays_for(store, [one.settings for one in leased]))):
                ends = tuple(
                    End(leased[end.lane].trial_id, end.state, end.step, end.error, {"node": "here"})
                    for end in block.ended
                )
                report = Report(
                    tuple((one.trial_id, one.attempt) for one in leased),
                    frozenset(range(len(leased))),
                    is_first,
                    block.network,
                    block.layers,
                    block.parametrised,
                    ends,
                    block.weights,
                )
                assert reports.record(store, report, 600.0) == frozenset()
                is_first = False

    return work


@pytest.fixture
def served_settings() -> Settings:
    """Of the application that listens."""
    return Settings()


@pytest.fixture
def port(store: Store, served_settings: Settings) -> Iterator[int]:
    """Where the application listens."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = ApiServer(configured(create_app(served_settings, store)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join(10)
