"""On PostgreSQL a large experiment's measured rows go with their tables, whatever happens meanwhile."""

import threading
import time

import pytest
from reports import LEASE, lease, report
from sqlalchemy import func, inspect, select, text

from service.errors import TooMany
from service.grid.expansion import expand
from service.store import control, deletions, leaving, partitions, range_checks, reports, submissions
from service.store.measured_models import layer_measurement, measurement
from service.store.models import measured_range, trial
from service.store.whole_counts import count_wholes

pytestmark = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
STEPS = [0, 10, 20]


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch):
    monkeypatch.setattr(control, "AT_ONCE", 0)
    monkeypatch.setattr(deletions, "_CHUNK", 2)
    monkeypatch.setattr(leaving, "_CHUNK", 1)
    monkeypatch.setattr(partitions, "_LARGE", 1)


@pytest.fixture
def large(store, expansion):
    """The number of an experiment whose six trials have a range of their own and have been measured."""
    made = submissions.create_experiment(store, expansion).id
    reports.record(store, report(lease(store), STEPS, ends=True), LEASE)
    return made


def _ranges(store):
    with store.read() as connection:
        rows = connection.execute(select(measured_range).order_by(measured_range.c.first)).all()
    return [(row.first, row.below, row.leaving) for row in rows]


def _measured(store):
    """Trials that have rows of networks, and the number of those of layers."""
    with store.read() as connection:
        query = select(measurement.c.trial_id).distinct().order_by(measurement.c.trial_id)
        rows = connection.scalar(select(func.count()).select_from(layer_measurement))
        return list(connection.scalars(query)), rows


def _problems(store):
    with store.read() as connection:
        return range_checks.problems(connection)


def _erase(store, number):
    control.delete_experiment(store, number)
    # as by a process that is killed before the tables go
    assert deletions.erase(store, int(number[1:]))


def test_a_large_experiments_rows_go_with_their_tables_and_no_row_is_deleted(store, large, tiny_grid, monkeypatch):
    monkeypatch.setattr(partitions, "_LARGE", 10**6)
    other = submissions.create_experiment(store, expand(tiny_grid(seeds=[7, 8]))).id
    reports.record(store, report(lease(store), STEPS, ends=True), LEASE)
    _, (first, below, _), _ = _ranges(store)
    assert _problems(store) == [] and below == first + 6
    own = list(range(first, below))
    assert _measured(store) == (own + list(range(below, below + 4)), 10 * 3)
    assert [name for name in _tables(store) if name.endswith(f"_{first}")]
    _erase(store, large)
    assert _measured(store)[0][:6] == own, "left behind until their tables go"
    deletions.erase_deleted(store)
    assert _measured(store) == (list(range(below, below + 4)), 4 * 3)
    assert not [name for name in _tables(store) if name.endswith(f"_{first}")]
    assert first not in [one[0] for one in _ranges(store)] and _problems(store) == []
    # of the others' shared range rows are deleted
    _erase(store, other)
    assert _measured(store) == ([], 0) and not any(one[2] for one in _ranges(store))


def _tables(store):
    with store.read() as connection:
        return inspect(connection).get_table_names()


def test_what_is_submitted_again_while_it_is_erased_keeps_its_rows(store, large, tiny_grid, monkeypatch):
    control.delete_experiment(store, large)
    looks = iter([False, False, False])
    assert deletions.erase_deleted(store, lambda: next(looks, True)) == 0
    with store.read() as connection:
        left = list(connection.scalars(select(trial.c.id).order_by(trial.c.id)))
    assert 0 < len(left) < 6 and len(_measured(store)[0]) == 6
    monkeypatch.setattr(partitions, "_LARGE", 10**6)
    again = submissions.create_experiment(store, expand(tiny_grid()))
    assert again.reused == len(left)
    assert deletions.erase_deleted(store) == 1
    assert _measured(store) == (left, 3 * len(left))
    assert not any(one[2] for one in _ranges(store)) and _problems(store) == []
    # what was new is trained anew, and its rows have a place
    reports.record(store, report(lease(store), STEPS, ends=True), LEASE)
    assert len(_measured(store)[0]) == 6
    _erase(store, again.id)
    deletions.erase_deleted(store)
    assert _measured(store) == ([], 0)


@pytest.mark.parametrize("is_late", [False, True])
def test_what_is_committed_before_the_tables_go_keeps_its_rows(store, large, monkeypatch, is_late):
    (*_, (first, below, _)) = _ranges(store)
    _erase(store, large)
    if is_late:
        asked = leaving._is_bare
        # when no trial was seen, and before the tables are locked
        monkeypatch.setattr(leaving, "_is_bare", lambda *told: _commit(store, first) or asked(*told))
    else:
        _commit(store, first)
    leaving.finish(store)
    assert first in _measured(store)[0]
    leaving.finish(store)
    assert _measured(store) == ([first], 3)
    assert (first, below, False) in _ranges(store)


def _commit(store, first):
    """What somebody adds who took a key before its range was closed."""
    with store.write() as connection:
        keys = {"id": first, "now": "2026-01-01"}
        digest = "INSERT INTO settings (digest, stack_key, document) VALUES (gen_random_uuid(), 'k', '{}') RETURNING id"
        keys["settings"] = connection.scalar(text(digest))
        columns = "id, fingerprint, settings_id, seed, stack_key, state, created_at"
        values = ":id, 'f', :settings, 1, 'k', 'queued', :now"
        connection.execute(text(f"INSERT INTO trial ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING"), keys)


def test_a_reader_keeps_the_tables_and_nobody_waits_for_it(store, large):
    (*_, (first, _, _)) = _ranges(store)
    _erase(store, large)
    with store.read() as earlier:
        earlier.execute(select(trial))
        leaving.finish(store)
    with store.read() as reader:
        # of one that began when no trial was there any more
        reader.execute(text(f"SELECT 1 FROM measurement_{first} LIMIT 1"))
        began = time.monotonic()
        leaving.finish(store)
        assert time.monotonic() - began < 2
        assert reader.scalar(select(func.count()).select_from(measurement)) == 18
    leaving.finish(store)
    assert _measured(store) == ([], 0)


def test_an_older_view_of_the_store_still_has_every_row(store, large):
    with store.read() as reader:
        assert reader.scalar(select(func.count()).select_from(trial)) == 6
        _erase(store, large)
        leaving.finish(store)
        # it had not looked at the tables before, so that no lock of its own kept them
        assert reader.scalar(select(func.count()).select_from(layer_measurement)) == 18
    leaving.finish(store)
    assert _measured(store) == ([], 0)


def test_tables_that_cannot_be_dropped_yet_are_emptied(store, large):
    (*_, (first, below, _)) = _ranges(store)
    _erase(store, large)
    with store.write() as connection:
        connection.execute(text("LOCK TABLE ONLY measurement IN ACCESS SHARE MODE"))
        leaving.finish(store)
        assert (first, below, True) in _ranges(store)
        sizes = text(f"SELECT pg_relation_size('measurement_{first}') + pg_relation_size('layer_measurement_{first}')")
        assert connection.scalar(sizes) == 0
    leaving.finish(store)
    assert first not in [one[0] for one in _ranges(store)]


def test_a_refused_grid_gives_its_range_back(store, expansion):
    before = _ranges(store)
    with pytest.raises(TooMany):
        submissions.create_experiment(store, expansion, max_queued=1)
    assert [one[2] for one in _ranges(store)] == [False, True]
    leaving.finish(store)
    assert _ranges(store) == before


def test_a_repeated_request_gives_its_range_back(store, expansion):
    for _ in range(2):
        submissions.create_experiment(store, expansion, idempotency_key="k", body_digest="b")
    assert [one[2] for one in _ranges(store)] == [False, False, True]


def test_somebody_else_who_is_adding_trials_is_not_waited_for(store, expansion):
    with store.write() as connection:
        connection.execute(text("SELECT nextval('trial_id_seq')"))
        made = submissions.create_experiment(store, expansion)
    assert made.new == 6 and len(_ranges(store)) == 1


def test_those_who_lease_make_ranges_that_are_missing(store, expansion, monkeypatch):
    monkeypatch.setattr(partitions, "_LARGE", 10**6)
    with store.write() as connection:
        connection.execute(text("SELECT setval('trial_id_seq', 100000)"))
    submissions.create_experiment(store, expansion)
    assert len(_ranges(store)) == 1
    done = []

    def train():
        while leased := lease(store, lanes=1):
            done.append(reports.record(store, report(leased, STEPS, ends=True), LEASE))

    threads = [threading.Thread(target=train) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert done == [frozenset()] * 6 and len(_ranges(store)) == 2
    assert len(_measured(store)[0]) == 6 and _problems(store) == []


def test_the_planner_knows_how_much_was_measured_in_all_ranges(store, large):
    whole = text("SELECT reltuples FROM pg_class WHERE oid = 'measurement'::regclass")
    with store.write() as connection:
        connection.execute(
            text("INSERT INTO measurement (trial_id, step) SELECT 1, step FROM generate_series(1, 20000) step")
        )
        connection.execute(text("ANALYZE measurement_0"))
        assert connection.scalar(whole) == -1
    count_wholes(store)
    with store.read() as connection:
        assert connection.scalar(whole) == 20_018


def test_the_doctor_finds_rows_and_tables_that_are_nobodys(store, large):
    (*_, (first, _, _)) = _ranges(store)
    with store.write() as connection:
        connection.execute(text("INSERT INTO measurement (trial_id, step) VALUES (77, 1)"))
    assert _problems(store) == ["t77 is gone, and rows that it measured are not"]
    with store.write() as connection:
        connection.execute(text("DELETE FROM measurement WHERE trial_id = 77"))
        connection.execute(text(f"ALTER TABLE measurement DETACH PARTITION measurement_{first}"))
    (wrong,) = _problems(store)
    assert f"has no table measurement_{first}" in wrong
