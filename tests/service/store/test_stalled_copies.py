"""A dispatcher that stands still in the middle of a COPY holds its locks; the next one ends its session."""

import psycopg
import pytest
from processes import wait_until
from reports import LEASE
from reports import lease as _lease
from sqlalchemy import select, text, update

from service.store import leases, submissions
from service.store.models import trial
from service.store.postgresql_engine import SETTINGS

pytestmark = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


@pytest.fixture
def stopped(store, expansion):
    """A session that locks leased trials, whose leases have run out, and stops while it copies their rows."""
    submissions.create_experiment(store, expansion)
    assert len(_lease(store)) > 0
    with store.write() as connection:
        connection.execute(update(trial).where(trial.c.state == "running").values(lease_until=-LEASE))
    url = store.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '50ms'; SELECT id FROM trial FOR UPDATE"
        )
        cursor = session.cursor()
        with pytest.raises(psycopg.OperationalError), cursor.copy("COPY measurement (trial_id, step) FROM STDIN"):
            yield
        session.close()


def _running(store):
    with store.read() as connection:
        return connection.scalars(select(trial.c.id).where(trial.c.state == "running")).all()


def _sessions_are_gone(store):
    with store.read() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'"
        return connection.scalar(text(query)) == 0


def test_its_trials_are_taken_over_once_it_stood_still_for_longer_than_a_transaction_may(store, stopped, monkeypatch):
    monkeypatch.setitem(SETTINGS, "idle_in_transaction_session_timeout", "1h")
    assert leases.sweep(store) == 0
    assert not _sessions_are_gone(store)
    monkeypatch.setitem(SETTINGS, "idle_in_transaction_session_timeout", "50ms")
    wait_until(lambda: leases.sweep(store) > 0)
    assert _sessions_are_gone(store)
    assert _running(store) == []
