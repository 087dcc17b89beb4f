"""PostgreSQL behind PgBouncer: a backend of our own for one transaction at a time, and what that must not change."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from nfa_command import nfa
from pgbouncer import PgBouncer, pgbouncer
from reports import lease, report
from sqlalchemy import text

from service.errors import BackupRefused, StoreUnavailable, StoreUnusable
from service.store import backups, experiments, postgresql_engine, reports, retention, schema, submissions
from service.store.postgresql_engine import SETTINGS, missing_settings
from service.store.session import Store, open_store

__all__ = ["pgbouncer"]


@pytest.fixture
def pooled(pgbouncer: PgBouncer, postgresql: str) -> Iterator[Store]:
    """A fresh store, upgraded through the pooler."""
    with pgbouncer.database() as url, open_store(url) as store:
        schema.upgrade(store)
        yield store


@pytest.fixture(params=["direct", "pooled"])
def reached(request: pytest.FixtureRequest, postgresql: str) -> Store:
    """PostgreSQL, directly and through a pooler."""
    if request.param == "pooled":
        return request.getfixturevalue("pooled")
    store = open_store(postgresql)
    request.addfinalizer(store.close)
    return store


def test_every_transaction_has_the_limits_and_says_so(reached):
    for transaction in (reached.write, reached.read):
        # more than one, since a pooler may lend another backend
        for _ in range(3):
            with transaction() as connection:
                assert missing_settings(connection) == {}
                assert connection.scalar(text("SHOW statement_timeout")) == "30s"
                assert connection.scalar(text("SHOW lock_timeout")) == "5s"
                assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "15s"
                assert connection.scalar(text("SHOW timezone")) == "UTC"
    with reached.read() as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == "repeatable read"
        assert connection.scalar(text("SHOW transaction_read_only")) == "on"


def test_a_limit_that_does_not_hold_is_named(reached):
    with reached.write() as connection:
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        assert missing_settings(connection) == {"lock_timeout": "0"}


def test_a_statement_a_lock_and_an_idle_transaction_are_given_up(reached, monkeypatch):
    waits = {"statement_timeout": "SELECT pg_sleep(60)", "lock_timeout": "SELECT pg_advisory_xact_lock(7)"}
    for name, statement in waits.items():
        monkeypatch.setitem(SETTINGS, name, "100ms")
        with reached.write() as holder:
            holder.execute(text("SELECT pg_advisory_xact_lock(7)"))
            with pytest.raises(StoreUnavailable), reached.write() as connection:
                connection.execute(text(statement))
        monkeypatch.undo()
    monkeypatch.setitem(SETTINGS, "idle_in_transaction_session_timeout", "100ms")
    with pytest.raises(StoreUnavailable), reached.write() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with reached.read() as watching:
            gone = text("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = :pid")
            for _ in range(200):
                if watching.scalar(gone, {"pid": pid}):
                    break
                watching.execute(text("SELECT pg_sleep(0.02), pg_stat_clear_snapshot()"))
        connection.execute(text("SELECT 1"))


def test_the_whole_way_of_a_sweep_goes_through_a_pooler(pooled, expansion):
    assert pooled.is_pooled()
    made = submissions.create_experiment(pooled, expansion)
    # each of them more often than the driver waits before it prepares a statement
    for _ in range(8):
        experiments.get_experiment(pooled, made.id)
    reports.record(pooled, report(lease(pooled), [0, 10, 20], ends=True), 30.0)
    assert experiments.get_experiment(pooled, made.id).progress == 1.0
    retention.vacuum(pooled)


def test_transactions_that_share_backends_do_not_meet_each_others_statements(pooled, expansion):
    submissions.create_experiment(pooled, expansion)
    wrong: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(15):
                experiments.get_experiment(pooled, "e1")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_that_was_set_stays_with_a_lent_backend(pooled, expansion):
    submissions.create_experiment(pooled, expansion)
    retention.vacuum(pooled)
    with psycopg.connect(pooled.url.set(drivername="postgresql").render_as_string(hide_password=False)) as plain:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert plain.execute("SELECT current_setting(%s)", [name]).fetchone() == ("0",)
        assert plain.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        assert plain.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


def test_a_backup_through_a_pooler_is_refused_with_the_reason(pooled, tmp_path: Path):
    with pytest.raises(BackupRefused, match="pooler"):
        backups.back_up(pooled, tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []


def test_a_pooler_that_lends_single_statements_is_refused_in_one_line(pgbouncer: PgBouncer):
    with pgbouncer.database(mode="statement") as url, open_store(url) as store:
        for transaction in (store.write, store.read):
            with pytest.raises(StoreUnusable, match="pool_mode=transaction") as caught, transaction():
                pass
            assert "\n" not in caught.value.detail


def test_a_session_of_ones_own_is_no_pooler_and_prepares_what_it_repeats(postgresql):
    with open_store(postgresql) as store:
        assert not store.is_pooled()
        with store.read() as connection:
            for _ in range(8):
                connection.execute(text("SELECT 42"))
            assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) > 0


def test_what_an_operator_writes_into_the_address_is_kept(postgresql):
    join = "&" if "?" in postgresql else "?"
    with open_store(f"{postgresql}{join}options=-c%20work_mem%3D7MB") as store, store.read() as connection:
        assert connection.scalar(text("SHOW work_mem")) == "7MB"
        assert missing_settings(connection) == {}


def test_the_limits_are_those_that_operations_promise():
    assert postgresql_engine.SETTINGS == {
        "statement_timeout": "30s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "15s",
        "timezone": "UTC",
    }


def test_the_command_line_upgrades_and_examines_a_store_behind_a_pooler(pgbouncer: PgBouncer, tmp_path: Path):
    with pgbouncer.database() as url:
        environment = {"NFA_DATABASE_URL": url, "NFA_HOME": str(tmp_path)}
        upgraded = nfa("db", "upgrade", environment=environment)
        assert upgraded.returncode == 0, upgraded.stderr
        examined = nfa("doctor", "--json", environment=environment)
    found = {one["subject"]: one for one in json.loads(examined.stdout)}
    assert found["database"]["ok"] and "pooler" in found["database"]["words"]
    assert found["limits"]["ok"] and "lock_timeout 5s" in found["limits"]["words"]
