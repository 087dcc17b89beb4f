"""On PostgreSQL, tables of measurements become those of the first range of trials, and are one again afterwards."""

import pytest
from sqlalchemy import text

from service.store import range_checks, schema
from service.store.partitions import SHARED, cover

pytestmark = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
_TRIAL = (
    "INSERT INTO trial (id, fingerprint, settings_id, seed, stack_key, state, created_at) "
    "SELECT key, key, 1, key, 'k', 'completed', now() FROM unnest(CAST(:keys AS bigint[])) key"
)
_ROWS = "INSERT INTO measurement (trial_id, step) SELECT key, 0 FROM unnest(CAST(:keys AS bigint[])) key"


def test_rows_of_all_ranges_are_in_one_table_before_and_after_them(store):
    far = 3 * SHARED
    keys = [1, SHARED, far]
    with store.write() as connection:
        connection.execute(text("INSERT INTO settings (id, digest, stack_key, document) VALUES (1, 'd', 'k', '{}')"))
        connection.execute(text(_TRIAL), {"keys": keys})
        connection.execute(text("SELECT setval('trial_id_seq', :far)"), {"far": far})
        cover(connection, keys)
        # of one that was deleted in a range that leaves
        connection.execute(text(_ROWS), {"keys": [*keys, far + 1]})
        connection.execute(text("UPDATE measured_range SET leaving = true WHERE first > 0"))
    schema.downgrade(store)
    assert _measured(store) == (keys, "r")
    schema.upgrade(store)
    assert _measured(store) == (keys, "p")
    with store.read() as connection:
        assert range_checks.problems(connection) == []
        ranges = connection.execute(text("SELECT first, below, leaving FROM measured_range")).all()
    assert ranges == [(0, far + 1 + SHARED, False)]


def _measured(store):
    with store.read() as connection:
        keys = connection.scalars(text("SELECT trial_id FROM measurement ORDER BY 1")).all()
        kind = connection.scalar(text("SELECT relkind FROM pg_class WHERE oid = 'measurement'::regclass"))
    return list(keys), kind.decode() if isinstance(kind, bytes) else kind
