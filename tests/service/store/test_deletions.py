"""A large experiment is gone at once; its rows go some at a time, and go on being deleted after a kill."""

import time

import pytest
from fastapi.testclient import TestClient
from reports import LEASE, lease, report
from sqlalchemy import func, select

from service.errors import NotFound
from service.grid.expansion import expand
from service.main import create_app
from service.settings import Settings
from service.states import TrialState
from service.store import control, deletions, experiments, reports, submissions, tallies, trials
from service.store.measured_models import final, layer_measurement, measurement
from service.store.models import attempt, experiment, experiment_trial, settings, tally, trial

TABLES = (attempt, experiment, experiment_trial, final, layer_measurement, measurement, settings, trial)


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch):
    monkeypatch.setattr(control, "AT_ONCE", 0)
    monkeypatch.setattr(deletions, "_CHUNK", 2)


def _rows(store):
    with store.read() as connection:
        return [connection.scalar(select(func.count()).select_from(table)) for table in TABLES]


def _wrong(store):
    with store.read() as connection:
        return tallies.differences(connection)


def test_nobody_finds_what_was_deleted_and_nobody_trains_for_it(store, expansion):
    made = submissions.create_experiment(store, expansion, idempotency_key="k", body_digest="b").id
    control.delete_experiment(store, made)
    assert _rows(store)[1] == 1
    for ask in (experiments.get_experiment, experiments.get_summary, experiments.owner_of, control.cancel_experiment):
        with pytest.raises(NotFound):
            ask(store, made)
    with pytest.raises(NotFound):
        control.delete_experiment(store, made)
    with pytest.raises(NotFound):
        trials.get_trial(store, "t1")
    with pytest.raises(NotFound):
        experiments.experiments_of_trial(store, "t1")
    assert experiments.list_experiments(store, limit=5, before=None) == ([], None)
    assert lease(store) == []
    again = submissions.create_experiment(store, expansion, idempotency_key="k", body_digest="b")
    assert (again.is_replay, again.total) == (False, 6)


def test_what_is_left_after_a_kill_is_deleted_later_and_what_others_hold_stays(store, tiny_grid):
    large = submissions.create_experiment(store, expand(tiny_grid())).id
    reports.record(store, report(lease(store), [0, 20], ends=True), LEASE)
    kept = submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=1))).id
    control.delete_experiment(store, large)
    looks = iter([False, False, False])
    assert deletions.erase_deleted(store, lambda: next(looks, True)) == 0
    assert 1 < _rows(store)[-1] < 6
    assert deletions.erase_deleted(store) == 1
    # of the other, one trial with two steps
    assert _rows(store) == [1, 1, 1, 1, 2, 2, 1, 1]
    assert experiments.get_summary(store, kept).counts[TrialState.COMPLETED] == 1
    control.delete_experiment(store, kept)
    assert deletions.erase_deleted(store) == 1
    assert _rows(store) == [0] * len(TABLES)
    assert _wrong(store) == []
    with store.read() as connection:
        assert set(connection.scalars(select(tally.c.experiment_id))) == {0}


def test_the_service_deletes_in_the_background(store, expansion):
    made = submissions.create_experiment(store, expansion).id
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        assert client.delete(f"/api/v1/experiments/{made}").status_code == 204
        assert client.get(f"/api/v1/experiments/{made}").status_code == 404
        until = time.monotonic() + 20
        while any(_rows(store)):
            assert time.monotonic() < until
            time.sleep(0.01)
