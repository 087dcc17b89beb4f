"""Databases of released versions upgrade; the last step can be undone; a killed migration can be started again."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, func, make_url, select, text

from service.errors import Conflict, SchemaMismatch
from service.states import TrialState
from service.store import experiments, leases, schema, trials
from service.store.measured_models import measurement
from service.store.models import trial
from service.store.partitions import is_modelled
from service.store.session import open_store
from service.store.tables import metadata

HERE = Path(__file__).parent
RELEASES = sorted({path.name.removesuffix(".sqlite.sql") for path in (HERE / "released").glob("*.sqlite.sql")})


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """URL of a database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty' / 'nfa.db'}"
        return
    server = make_url(request.getfixturevalue("postgresql")).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE nfa_empty"))
    yield server.set(database="nfa_empty").render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE nfa_empty WITH (FORCE)"))
    engine.dispose()


def _load(url, version):
    """Make the database what a release left."""
    with open_store(url) as store:
        sql = (HERE / "released" / f"{version}.{store.dialect}.sql").read_text()
        if store.dialect == "sqlite":
            with sqlite3.connect(str(store.url.database)) as connection:
                connection.executescript(sql)
            connection.close()
        else:
            store.outside_transactions(sql)


def _differences(store):
    with store.read() as connection:
        options = {"compare_type": True, "compare_server_default": False, "include_name": is_modelled}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


@pytest.mark.parametrize("version", RELEASES)
def test_a_released_databases_sweep_goes_on_after_the_upgrade(empty_url, version):
    _load(empty_url, version)
    with open_store(empty_url) as store:
        assert schema.upgrade(store) == schema.head()
        assert _differences(store) == [], (
            f"{version} does not upgrade to the models; if it is not released yet, its schema has changed: run "
            f"python tests/migrations/released/make.py {version}"
        )
        counts = experiments.get_experiment(store, "e1").counts
        assert counts[TrialState.COMPLETED] == 4 and sum(counts.values()) == 6
        assert trials.get_trial(store, "t1").final["alignment"] == 0.5
        with store.read() as connection:
            assert connection.scalar(select(func.count()).select_from(measurement)) == 4 * 3 + 2
        with store.write() as connection:
            connection.execute(text("UPDATE trial SET lease_until = -1 WHERE state = 'running'"))
        assert leases.sweep(store) == 1
        leased = leases.lease_stack(store, "new", lease_seconds=30.0, choose=lambda settings, waiting: waiting.trials)
        assert sorted(one.attempt for one in leased) == [1, 2]


def test_every_released_version_has_a_fixture():
    changelog = (HERE.parents[1] / "CHANGELOG.md").read_text()
    released = re.findall(r"^## (\S+)$", changelog, re.MULTILINE)
    assert "0.1.0" in released and {*released} <= {*RELEASES}


def test_the_last_step_can_be_undone_and_done_again(empty_url):
    with open_store(empty_url) as store:
        schema.upgrade(store)
        with store.write() as connection:
            schema._downgrade(connection)
        # a step may change what models do not tell, as when a table is vacuumed
        with pytest.raises(SchemaMismatch, match="nfa db upgrade"):
            schema.check(store)
        schema.upgrade(store)
        assert _differences(store) == []


def test_every_step_can_be_undone_but_the_first_which_would_drop_everything(empty_url):
    with open_store(empty_url) as store:
        schema.upgrade(store)
        steps = 0
        with pytest.raises(Conflict, match=r"0001 is the first schema.*restore a backup"):
            while True:
                steps += 1
                schema.downgrade(store)
        assert steps == int(schema.head())
        with store.read() as connection:
            assert connection.scalar(select(func.count()).select_from(trial)) == 0
        schema.upgrade(store)
        assert _differences(store) == []


def test_a_migration_killed_at_any_statement_leaves_nothing_and_can_be_started_again(empty_url):
    # in the first steps, and in the last one that moves tables
    every = [1, 2, 3, *range(5, 60, 8), 103, 107, 113, 116, 119, 10_000]
    ran = subprocess.run(
        [sys.executable, str(HERE / "killed.py"), empty_url, *map(str, every)],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    *killed, last = ran.stdout.splitlines()
    assert len(killed) >= 10 and set(killed) == {"killed empty"}
    assert last == f"ended {schema.head()}"


def test_a_dispatcher_refuses_a_schema_it_does_not_know_in_one_line(store, store_url, tmp_path):
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ran = subprocess.run(
        [sys.executable, "-m", "workers"],
        env=os.environ | {"NFA_DATABASE_URL": store_url, "NFA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 1
    assert [line for line in ran.stderr.splitlines() if "9999" in line and "newer" in line] == ran.stderr.splitlines()
