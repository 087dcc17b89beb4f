"""A question that would never end is given up, on both databases."""

import time

import pytest
from sqlalchemy import text

from service.errors import StoreUnavailable
from service.store import session

ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")


def test_a_statement_is_given_up_in_time_and_the_next_one_is_answered(store, monkeypatch):
    monkeypatch.setattr(session, "STATEMENT_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable), store.read() as connection:
        if store.dialect == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 200"))
        connection.execute(ENDLESS)
    assert time.monotonic() - began < 5
    with store.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
