"""What is decided about many trials holds at once, although their rows follow some at a time."""

import threading
import time

import pytest
from fastapi.testclient import TestClient
from reports import LEASE, lease, report
from sqlalchemy import event, select

from service.errors import TooMany
from service.grid.expansion import expand
from service.main import create_app
from service.settings import Settings
from service.states import ExperimentState, TrialState
from service.store import (
    cluster,
    control,
    experiments,
    leases,
    reports,
    settling,
    submissions,
    tallies,
    trials,
    versions,
)
from service.store.known_trials import known_trials
from service.store.models import trial
from service.store.reports import End
from service.store.session import open_store
from service.store.trials import list_trials

_ON_POSTGRESQL = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def all_are_many(monkeypatch):
    monkeypatch.setattr(settling, "PIECE", 1)


def _rows(store):
    with store.read() as connection:
        return sorted(connection.scalars(select(trial.c.state)))


def _page(store, public_id, state=None, where=""):
    page, _ = list_trials(store, public_id, state=state, where=where, sort=None, limit=50, after=None)
    return [one.row.state.value for one in page]


def _counts(store, public_id):
    return {state.value: count for state, count in experiments.get_summary(store, public_id).counts.items() if count}


def _pairs(leased):
    return [(one.trial_id, one.attempt) for one in leased]


def test_nobody_waits_for_the_beginning_of_what_is_being_cancelled(store, tiny_grid):
    grid = tiny_grid(seeds=3)
    grid["trial"] = grid["trial"] | {"training": {"keep": "state"}, "measure": {"every": 16}}
    for steps in ([64, 128], [128]):
        submissions.create_experiment(store, expand(grid | {"axes": {"training.steps": steps}}))
    assert [one.settings["training"]["steps"] for one in lease(store, lanes=1)] == [64]
    control.cancel_experiment(store, "e1")
    assert [one.settings["training"]["steps"] for one in lease(store)] == [128] * 3


def test_what_is_being_cancelled_counts_for_its_owners_limit_no_more(store, expansion, tiny_grid):
    made = submissions.create_experiment(store, expansion)
    others = expand(tiny_grid(seeds=[7, 8]))
    with pytest.raises(TooMany):
        submissions.create_experiment(store, others, max_queued=6)
    control.cancel_experiment(store, made.id)
    assert _rows(store) == ["queued"] * 6
    submissions.create_experiment(store, others, max_queued=6)


def test_what_is_cancelled_is_so_before_its_rows_say_it(store, expansion):
    made = submissions.create_experiment(store, expansion)
    leased = lease(store, lanes=2)
    cancelled = control.cancel_experiment(store, made.id)
    # two ran, and were taken at once; four have yet to follow
    assert _rows(store) == ["cancelled"] * 2 + ["queued"] * 4
    assert leases.renew_all(store, "d1", LEASE).taken == set(_pairs(leased))
    assert (cancelled.state, cancelled.progress, cancelled.eta_seconds) == (ExperimentState.CANCELLED, 1.0, 0.0)
    assert _counts(store, made.id) == {"cancelled": 6}
    assert _page(store, made.id) == _page(store, made.id, "cancelled") == ["cancelled"] * 6
    assert _page(store, made.id, "queued") == _page(store, made.id, where="state == queued") == []
    assert {trials.get_trial(store, f"t{one}").row.state for one in range(1, 7)} == {TrialState.CANCELLED}
    assert (cluster.queue_state(store).counts[TrialState.QUEUED], cluster.queue_state(store).age_seconds) == (0, 0)
    assert known_trials(store, expansion) == {}
    assert lease(store) == []
    assert settling.settle_all(store)
    assert _rows(store) == ["cancelled"] * 6
    assert _counts(store, made.id) == {"cancelled": 6}


def test_nobody_leases_for_a_paused_experiment_whose_rows_wait_and_others_go_on(store, tiny_grid):
    paused = submissions.create_experiment(store, expand(tiny_grid(priority=1)))
    other = submissions.create_experiment(store, expand(tiny_grid(seeds=[10])))
    running = lease(store, lanes=2)
    assert control.pause_experiment(store, paused.id).state == ExperimentState.PAUSED
    assert leases.renew(store, _pairs(running), LEASE) == {one.trial_id for one in running}
    # a stack has room for a hundred, and theirs are of the same shape
    assert {one.seed for one in lease(store)} == {10}
    assert lease(store) == []
    assert settling.settle_all(store)
    assert _counts(store, paused.id) == {"queued": 6}
    assert _counts(store, other.id) == {"running": 2}
    control.resume_experiment(store, paused.id)
    assert len(lease(store)) >= 1, "before all rows have followed"
    assert settling.settle_all(store)
    assert len(lease(store)) > 0 or _counts(store, paused.id) == {"running": 6}


def test_a_resume_in_the_middle_of_a_pause_leaves_nothing_resting(store, expansion):
    made = submissions.create_experiment(store, expansion)
    control.pause_experiment(store, made.id)
    looks = iter([False] * 3)
    assert not settling.settle_all(store, lambda: next(looks, True))
    control.resume_experiment(store, made.id, max_queued=6)
    assert settling.settle_all(store)
    assert len(lease(store)) == 6


def test_what_is_cancelled_while_it_rests_makes_nobodys_queue_longer(store, expansion):
    made = submissions.create_experiment(store, expansion)
    control.pause_experiment(store, made.id)
    assert settling.settle_all(store)
    control.cancel_experiment(store, made.id)
    assert control.resume_experiment(store, made.id, max_queued=5).state == ExperimentState.CANCELLED


def test_cancelling_what_has_ended_makes_no_new_version_of_it(store, expansion):
    made = submissions.create_experiment(store, expansion)
    reports.record(store, report(lease(store), [0, 20], ends=True), LEASE)
    before = versions.version_of(store, [made.id])
    control.cancel_experiment(store, made.id)
    assert versions.version_of(store, [made.id]) == before
    assert settling.settle_all(store)
    assert versions.version_of(store, [made.id]) == before is not None


@pytest.mark.parametrize("then", ["completed", "failed and retried"])
def test_what_becomes_of_a_trial_for_others_after_a_cancel_is_theirs_alone(store, tiny_grid, then):
    first = submissions.create_experiment(store, expand(tiny_grid()))
    second = submissions.create_experiment(store, expand(tiny_grid(seeds=1)))
    control.cancel_experiment(store, first.id)
    leased = lease(store)
    assert [one.seed for one in leased] == [0, 0]
    if then == "completed":
        reports.record(store, report(leased, [0, 20], ends=True), LEASE)
    else:
        for one in leased:
            reports.fail(store, one.trial_id, one.attempt, End(one.trial_id, "failed", 7, "why", {}))
        control.retry_experiment(store, second.id, "failed")
    assert _counts(store, first.id) == {"cancelled": 6}
    assert settling.settle_all(store)
    assert _counts(store, first.id) == {"cancelled": 6}
    assert _counts(store, second.id) == {"completed" if then == "completed" else "queued": 2}


def test_what_had_failed_before_a_cancel_is_retried_by_others_for_both(store, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid()))
    second = submissions.create_experiment(store, expand(tiny_grid(seeds=1)))
    for one in lease(store):
        if one.seed == 0:
            reports.fail(store, one.trial_id, one.attempt, End(one.trial_id, "failed", 7, "why", {}))
    control.cancel_experiment(store, first.id)
    control.retry_experiment(store, second.id, "failed")
    assert _counts(store, first.id) == {"cancelled": 4, "queued": 2}
    assert settling.settle_all(store)
    assert _counts(store, first.id) == {"cancelled": 4, "queued": 2}


def test_a_retry_in_the_middle_of_a_cancel_wants_all_again(store, expansion):
    made = submissions.create_experiment(store, expansion)
    control.cancel_experiment(store, made.id)
    control.retry_experiment(store, made.id, "cancelled")
    assert _counts(store, made.id) == {"queued": 6}
    assert settling.settle_all(store)
    assert len(lease(store)) == 6


def test_what_is_added_after_a_cancel_is_wanted_and_what_was_cancelled_is_not(store, tiny_grid):
    grid = tiny_grid()
    made = submissions.create_experiment(store, expand(grid), document=grid)
    control.cancel_experiment(store, made.id)
    wider = tiny_grid(seeds=5)
    added = submissions.extend_experiment(store, made.id, expand(wider), grid, wider)
    assert (added.total, added.new) == (10, 4)
    assert settling.settle_all(store)
    assert _counts(store, made.id) == {"cancelled": 6, "queued": 4}
    assert len(lease(store)) == 4


@_ON_POSTGRESQL
def test_a_cancel_in_the_middle_of_an_extension_leaves_what_is_added(store, store_url, tiny_grid):
    grid, wider = tiny_grid(), tiny_grid(seeds=5)
    made = submissions.create_experiment(store, expand(grid), document=grid)
    left = [made.id]

    def cancel(_connection, _cursor, statement, *_):
        if left and statement.startswith("INSERT INTO experiment_trial"):
            with open_store(store_url) as other:
                control.cancel_experiment(other, left.pop())

    event.listen(store._bare, "after_cursor_execute", cancel)
    submissions.extend_experiment(store, made.id, expand(wider), grid, wider)
    assert _counts(store, made.id) == {"cancelled": 6, "queued": 4}
    assert settling.settle_all(store)
    assert _counts(store, made.id) == {"cancelled": 6, "queued": 4}


def test_what_is_being_cancelled_is_as_new_to_who_submits_it(store, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid()))
    (one,) = lease(store, lanes=1)
    leases.restart(store, _pairs([one]), LEASE, charge=True, error="why")
    leases.release(store, [(one.trial_id, 2)])
    control.cancel_experiment(store, first.id)
    second = submissions.create_experiment(store, expand(tiny_grid(seeds=4)))
    assert (second.new, second.reused) == (8, 0)
    assert {one.failures for one in lease(store)} == {0}
    assert settling.settle_all(store)
    assert _counts(store, first.id) == {"cancelled": 6}
    assert _counts(store, second.id) == {"running": 8}


@_ON_POSTGRESQL
@pytest.mark.parametrize(
    ("change", "seen"),
    [(control.cancel_experiment, {"cancelled": 6}), (control.pause_experiment, {"queued": 6})],
)
def test_what_is_being_leased_in_the_moment_of_a_decision_is_taken(store, store_url, expansion, change, seen):
    made = submissions.create_experiment(store, expansion)
    decided, left = threading.Event(), [made.id]

    def decide(public_id):
        with open_store(store_url) as other:
            event.listen(other._bare, "commit", lambda _: decided.set())
            change(other, public_id)

    def meanwhile(_connection, _cursor, statement, *_):
        # what is held back has been looked up, and the trials are picked next
        if left and "max(trial.priority)" in statement:
            threads.append(threading.Thread(target=decide, args=(left.pop(),)))
            threads[0].start()
            assert decided.wait(20)

    threads = list[threading.Thread]()
    event.listen(store._bare, "before_cursor_execute", meanwhile)
    leased = lease(store)
    threads[0].join()
    assert len(leased) == 6
    assert leases.renew(store, _pairs(leased), LEASE) == {one.trial_id for one in leased}
    assert _counts(store, made.id) == seen


def test_the_service_settles_in_the_background(store, expansion):
    made = submissions.create_experiment(store, expansion)
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1") as client:
        answer = client.post(f"/api/v1/experiments/{made.id}/cancel").json()
        assert (answer["state"], answer["counts"]["cancelled"]) == ("cancelled", 6)
        until = time.monotonic() + 20
        while set(_rows(store)) != {"cancelled"}:
            assert time.monotonic() < until
            time.sleep(0.01)
    with store.read() as connection:
        assert tallies.differences(connection) == []
