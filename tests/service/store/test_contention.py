"""Only what may pass by itself is told as "try again"; a defect is a defect on both databases."""

import sqlite3

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.errors import QuestionTooSlow, StoreUnavailable
from service.main import create_app
from service.settings import Settings
from service.store import contention, session, sqlite_engine, tokens
from service.store.session import open_store
from service.tokens import Scope

DEFECTS = (
    "SELECT 1 FROM no_such_table",
    "SELECT no_such_column FROM trial",
    "SELEC 1",
    "INSERT INTO incarnation VALUES ()",
)


@pytest.mark.parametrize("statement", DEFECTS)
@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_wrong_statement_is_a_defect_and_not_a_store_that_is_away(store, statement, kind):
    with pytest.raises(DBAPIError), getattr(store, kind)() as connection:
        connection.execute(text(statement))


def test_a_store_without_its_tables_is_a_defect_that_is_logged(store, capsys):
    with store.write() as connection:
        connection.execute(text("DROP TABLE idempotency"))
        connection.execute(text("ALTER TABLE experiment RENAME TO elsewhere"))
    with TestClient(create_app(Settings(), store), "http://127.0.0.1", raise_server_exceptions=False) as api:
        answer = api.get("/api/v1/experiments")
    assert answer.status_code == 500 and answer.json()["code"] == "internal"
    assert "retry-after" not in answer.headers
    told = capsys.readouterr().out
    assert "unexpected_error" in told and answer.json()["request_id"] in told


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        ("08006", True),
        ("40001", True),
        ("40P01", True),
        ("53100", True),
        ("53200", True),
        ("53300", True),
        ("55P03", True),
        ("57014", True),
        ("57P01", True),
        ("57P03", True),
        ("25P03", True),
        ("42P01", False),
        ("42703", False),
        ("42601", False),
        ("23505", False),
        ("22003", False),
        ("25006", False),
        ("0A000", False),
        ("42501", False),
        ("55000", False),
        ("XX000", False),
    ],
)
def test_what_postgresql_says_is_sorted_by_its_state(code, passes):
    assert contention.may_pass(psycopg.errors.lookup(code)()) is passes


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_LOCKED, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_IOERR_FSYNC, True),
        (sqlite3.SQLITE_CANTOPEN, True),
        (sqlite3.SQLITE_ERROR, False),
        (sqlite3.SQLITE_READONLY, False),
        (sqlite3.SQLITE_CORRUPT, False),
        (sqlite3.SQLITE_NOTADB, False),
        (sqlite3.SQLITE_CONSTRAINT, False),
    ],
)
def test_what_sqlite_says_is_sorted_by_its_code(code, passes):
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode = code
    assert contention.may_pass(error) is passes


def test_an_error_of_no_database_may_not_pass():
    assert not contention.may_pass(ValueError("x")) and not contention.may_pass(None)
    assert not contention.may_pass(sqlite3.OperationalError("raised by the driver itself"))
    assert contention.may_pass(psycopg.OperationalError("connection refused"))


def test_a_lock_that_others_hold_is_told_as_try_again(store, store_url, monkeypatch):
    monkeypatch.setattr(sqlite_engine, "_BUSY_MILLISECONDS", 50)
    tokens.create_token(store, "one", Scope.READ)
    change = text("UPDATE token SET owner = 'x'")
    with store.write() as held, open_store(store_url) as other:
        held.execute(change)
        with pytest.raises(StoreUnavailable), other.write() as connection:
            if other.dialect == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            connection.execute(change)


def test_a_full_disk_is_told_as_try_again(tmp_path):
    small = open_store(f"sqlite:///{tmp_path / 'nfa.db'}")
    with small, pytest.raises(StoreUnavailable, match="full"), small.write() as connection:
        connection.execute(text("PRAGMA max_page_count = 10"))
        connection.execute(text("CREATE TABLE t (x)"))
        connection.execute(text("INSERT INTO t VALUES (zeroblob(100000))"))


def test_a_question_that_runs_out_of_time_is_another_error_without_a_time_to_come_again(store, monkeypatch):
    monkeypatch.setattr(session, "STATEMENT_SECONDS", 0.1)
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
    application = create_app(Settings(), store)

    @application.get("/api/v1/endless")
    def ask():
        with store.read() as connection:
            if store.dialect == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 100"))
            connection.execute(endless)

    with TestClient(application, "http://127.0.0.1") as api:
        answer = api.get("/api/v1/endless")
    assert (answer.status_code, answer.json()["code"]) == (QuestionTooSlow.status, "question_too_slow")
    assert "retry-after" not in answer.headers and "where" in answer.json()["detail"]
