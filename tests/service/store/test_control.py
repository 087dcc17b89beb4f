"""Pause, resume, retry, change, delete, and the history of attempts."""

import threading

import pytest
from sqlalchemy import func, select, update

from service.errors import NotFound
from service.grid.expansion import expand
from service.states import ExperimentState, TrialState
from service.store import attempts, cluster, control, experiments, leases, reports, submissions
from service.store.ids import trial_id
from service.store.keys import among
from service.store.models import attempt, experiment, experiment_trial, idempotency, settings, trial
from service.store.reports import End
from service.store.session import open_store

LEASE = 30.0


def _lease(store, lanes=100):
    place = attempts.Place("here", "n1")
    return leases.lease_stack(store, "d1", lease_seconds=LEASE, choose=lambda s, waiting: lanes, place=place)


def _pairs(leased):
    return [(one.trial_id, one.attempt) for one in leased]


def _counts(store, public_id):
    counts = experiments.get_experiment(store, public_id).counts
    return {state.value: count for state, count in counts.items() if count}


def _end(store, leased, state):
    for one in leased:
        assert reports.fail(store, one.trial_id, one.attempt, End(one.trial_id, state, 7, "why", {})) == frozenset()


def test_a_pause_hands_running_trials_back_and_a_resume_goes_on(store, expansion):
    created = submissions.create_experiment(store, expansion)
    leased = _lease(store, 2)
    assert control.pause_experiment(store, created.id).state == ExperimentState.PAUSED
    assert leases.renew(store, _pairs(leased), LEASE) == {one.trial_id for one in leased}
    assert _lease(store) == []
    assert _counts(store, created.id) == {"queued": 6}
    assert control.resume_experiment(store, created.id).state == ExperimentState.QUEUED
    assert len(_lease(store)) == 6


def test_what_has_ended_is_not_paused(store, expansion):
    created = submissions.create_experiment(store, expansion)
    _end(store, _lease(store), TrialState.FAILED)
    assert control.pause_experiment(store, created.id).state == ExperimentState.FAILED
    control.retry_experiment(store, created.id, "failed")
    # no pause was kept for later
    assert experiments.get_experiment(store, created.id).state == ExperimentState.QUEUED


@pytest.mark.parametrize("end", ["cancelled", "trained for another"])
def test_a_paused_experiment_whose_trials_end_has_ended(store, expansion, end):
    paused = submissions.create_experiment(store, expansion)
    control.pause_experiment(store, paused.id)
    if end == "cancelled":
        control.cancel_experiment(store, paused.id)
    else:
        submissions.create_experiment(store, expansion)
        _end(store, _lease(store), TrialState.FAILED)
    wanted = ExperimentState.CANCELLED if end == "cancelled" else ExperimentState.FAILED
    assert experiments.get_experiment(store, paused.id).state == wanted


def test_a_paused_experiments_trials_run_for_another_that_wants_them(store, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid()))
    second = submissions.create_experiment(store, expand(tiny_grid(seeds=1)))
    leased = _lease(store)
    control.pause_experiment(store, first.id)
    lost = leases.renew(store, _pairs(leased), LEASE)
    assert len(lost) == 4
    assert _counts(store, second.id) == {"running": 2}


def test_cancelling_spares_running_trials_that_a_paused_experiment_wants(store, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid()))
    paused = submissions.create_experiment(store, expand(tiny_grid(seeds=1)))
    control.pause_experiment(store, paused.id)
    _lease(store)
    control.cancel_experiment(store, first.id)
    assert _counts(store, paused.id) == {"queued": 2}
    control.resume_experiment(store, paused.id)
    assert len(_lease(store)) == 2


@pytest.mark.parametrize("which", ["failed", "diverged"])
def test_a_retry_queues_exactly_what_failed_for_every_holder(store, expansion, which):
    created = submissions.create_experiment(store, expansion)
    other = submissions.create_experiment(store, expansion)
    _end(store, _lease(store, 2), which)
    _end(store, _lease(store, 1), "diverged" if which == "failed" else "failed")
    _end(store, _lease(store), "completed")
    assert control.retry_experiment(store, created.id, which).counts[TrialState.QUEUED] == 2
    assert _counts(store, other.id)["queued"] == 2
    again = _lease(store)
    assert [(one.attempt) for one in again] == [2, 2]
    with store.read() as connection:
        assert set(connection.scalars(select(trial.c.failures).where(trial.c.attempt == 2))) == {0}


def test_a_retry_of_what_was_cancelled_wants_it_again(store, expansion):
    created = submissions.create_experiment(store, expansion)
    _end(store, _lease(store, 2), "completed")
    control.cancel_experiment(store, created.id)
    assert _counts(store, created.id) == {"completed": 2, "cancelled": 4}
    control.retry_experiment(store, created.id, "cancelled")
    assert _counts(store, created.id) == {"completed": 2, "queued": 4}
    assert len(_lease(store)) == 4


def test_a_delete_leaves_what_other_experiments_hold_and_nothing_else(store, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid()), idempotency_key="k", body_digest="b")
    kept = submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=1)))
    leased = _lease(store)
    control.delete_experiment(store, first.id)
    assert len(leases.renew(store, _pairs(leased), LEASE)) == 5
    with pytest.raises(NotFound):
        experiments.get_experiment(store, first.id)
    tables = (experiment, experiment_trial, trial, settings, attempt, idempotency)
    with store.read() as connection:
        counts = [connection.scalar(select(func.count()).select_from(table)) for table in tables]
    assert counts == [1, 1, 1, 1, 1, 0]
    assert _counts(store, kept.id) == {"running": 1}
    for call in (control.delete_experiment, control.pause_experiment, control.cancel_experiment):
        with pytest.raises(NotFound):
            call(store, first.id)


def test_changing_name_notes_and_tags_changes_nothing_else(store, expansion):
    created = submissions.create_experiment(store, expansion)
    changed = control.change_experiment(store, created.id, {"name": "n", "notes": "m", "tags": ["x"]})
    assert (changed.name, changed.notes, changed.tags, changed.counts[TrialState.QUEUED]) == ("n", "m", ["x"], 6)
    with pytest.raises(ValueError, match="paused"):
        control.change_experiment(store, created.id, {"paused": True})


def test_a_trial_that_is_submitted_while_it_is_cancelled_is_not_lost(store, store_url, tiny_grid):
    grid = expand(tiny_grid())
    for _ in range(5):
        first = submissions.create_experiment(store, grid)
        barrier, created = threading.Barrier(2), []

        def cancel(public_id=first.id, barrier=barrier):
            with open_store(store_url) as own:
                barrier.wait()
                control.cancel_experiment(own, public_id)

        def submit(barrier=barrier, created=created):
            with open_store(store_url) as own:
                barrier.wait()
                created.append(submissions.create_experiment(own, grid))

        threads = [threading.Thread(target=work) for work in (cancel, submit)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert _counts(store, created[0].id) == {"queued": 6}
        control.cancel_experiment(store, created[0].id)


def test_every_attempt_is_kept_with_why_it_ended(store, expansion):
    cluster.register_dispatcher(store, "d1", "here", 1, 1, {})
    submissions.create_experiment(store, expansion)
    (one,) = _lease(store, 1)
    key = (one.trial_id, one.attempt)
    leases.restart(store, [key], LEASE, charge=True, error="the trainer died")
    attempts.place_attempts(store, [(one.trial_id, 2)], attempts.Place("there", "n2"))
    leases.release(store, [(one.trial_id, 2)])
    _lease(store, 1)
    with store.write() as connection:
        connection.execute(update(trial).where(trial.c.id == one.trial_id).values(lease_until=-1.0))
    leases.sweep(store)
    _end(store, _lease(store, 1), "failed")
    found = attempts.list_attempts(store, trial_id(one.trial_id))
    assert [(a.number, a.outcome, a.error) for a in found] == [
        (1, "restarted", "the trainer died"),
        (2, "released", None),
        (3, "expired", None),
        (4, "failed", "why"),
    ]
    assert {a.dispatcher for a in found} == {"d1"}
    assert [(a.host, a.node) for a in found] == [("here", "n1"), ("there", "n2"), ("here", "n1"), ("here", "n1")]
    assert all(a.ended_at and a.started_at <= a.ended_at for a in found)


def test_more_trials_may_be_named_at_once_than_a_statement_may_have_parameters(store):
    many = [(key, 1) for key in range(1, 70_001)]
    assert leases.renew(store, many, LEASE) == frozenset(range(1, 70_001))
    leases.release(store, many)
    with store.write() as connection:
        attempts.close_attempts(connection, [key for key, _ in many], "cancelled")
        assert list(connection.scalars(select(trial.c.id).where(among(connection, trial.c.id, range(70_000))))) == []
