"""The application on a fresh store of each database, called without a network.

Modules that ask about requests, answers, pages and files, and not about statements, run on one database each: see
ON_ONE_DATABASE.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from processes import wait_until

from service.cli.api_server import ApiServer, configured
from service.main import create_app
from service.settings import Settings
from service.store.session import Store

Submit = Callable[..., dict[str, Any]]
ON_ONE_DATABASE = {
    "sqlite": {
        *("access", "access_matrix", "answers", "api_page", "application", "async_client", "client_export"),
        *("client_tables", "datasets_command", "forwarding", "kinds", "openapi", "request_log", "served", "sign_ins"),
        *("slashes", "terminal", "translated_config", "weights"),
    },
    "postgresql": {"bulk", "compare_page", "datasets", "figures_of_trials", "own_numbers", "pages", "refusals"},
}
"""Modules by the database that they run on; with NFA_EVERY_DATABASE=1 they run on both, as all others do."""


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the tests of some modules one database."""
    name = metafunc.function.__module__.rpartition(".")[2].removeprefix("test_")
    for database, modules in ON_ONE_DATABASE.items():
        if name in modules and not os.environ.get("NFA_EVERY_DATABASE"):
            for fixture in {"shared_store", "store_url"}.intersection(metafunc.fixturenames):
                metafunc.definition.add_marker(pytest.mark.parametrize(fixture, [database], indirect=True))


@pytest.fixture
def api(store: Store) -> Iterator[TestClient]:
    """Calls the REST API; an unexpected error is answered, as it would be in operation."""
    with _called(store, Settings().requests_per_second) as client:
        yield client


@pytest.fixture(scope="module")
def shared_api(shared_store: Store) -> Iterator[TestClient]:
    """Calls the REST API of a store that tests of a module share; as often as they like, and they change nothing."""
    with _called(shared_store, 1e6) as client:
        yield client


def _called(store: Store, requests_per_second: float) -> TestClient:
    settings = Settings(
        max_trials=2_000,
        max_body_bytes=64 * 1024,
        max_upload_bytes=256 * 1024,
        max_uploaded_bytes=2**20,
        requests_per_second=requests_per_second,
    )
    return TestClient(create_app(settings, store), base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def submit(api: TestClient, tiny_grid: Callable[..., dict[str, Any]]) -> Submit:
    """Submits a grid of quick trials; keyword arguments replace top-level keys."""

    def post(**more: Any) -> dict[str, Any]:
        answer = api.post("/api/v1/experiments", json=tiny_grid(**more))
        assert answer.status_code == 201, answer.text
        return answer.json()

    return post


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
