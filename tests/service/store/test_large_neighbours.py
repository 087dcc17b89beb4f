"""What is done to many trials of one experiment keeps nobody else waiting."""

from collections.abc import Callable

import pytest
from sqlalchemy import event

from service.grid.expansion import expand
from service.states import ExperimentState, TrialState
from service.store import control, experiments, settling, submissions
from service.store.session import open_store

_ON_POSTGRESQL = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


def _once(engine, name: str, starts: str, what: Callable[[], object]) -> None:
    """Do something before the first statement that starts so, in the middle of whoever sends it."""
    left = [what]

    def look(_connection, _cursor, statement, *_):
        if left and statement.startswith(starts):
            left.pop()()

    event.listen(engine, name, look)


@_ON_POSTGRESQL
@pytest.mark.parametrize("starts", ["INSERT INTO trial", "INSERT INTO experiment_trial"])
def test_others_are_paused_and_submit_while_many_trials_are_inserted(store, store_url, tiny_grid, starts):
    neighbour = submissions.create_experiment(store, expand(tiny_grid(seeds=[100])))
    done = []

    def meanwhile():
        with open_store(store_url) as other:
            done.append(control.pause_experiment(other, neighbour.id).state)
            done.append(submissions.create_experiment(other, expand(tiny_grid(seeds=[200]))).new)

    _once(store._bare, "before_cursor_execute", starts, meanwhile)
    made = submissions.create_experiment(store, expand(tiny_grid()))
    assert done == [ExperimentState.PAUSED, 2]
    assert (made.total, made.new) == (6, 6)


@_ON_POSTGRESQL
def test_who_cancels_trials_that_are_being_submitted_again_waits_for_nobody_and_loses_none(store, store_url, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid()))

    def meanwhile():
        with open_store(store_url) as other:
            control.cancel_experiment(other, first.id)

    # the trials are linked, and the control lock is what is waited for next
    _once(store._bare, "before_cursor_execute", "SELECT pg_advisory_xact_lock", meanwhile)
    second = submissions.create_experiment(store, expand(tiny_grid()))
    counts = experiments.get_summary(store, second.id).counts
    assert (second.new, second.reused, counts[TrialState.QUEUED]) == (6, 0, 6)
    assert experiments.get_summary(store, first.id).state == ExperimentState.CANCELLED


@_ON_POSTGRESQL
def test_who_deletes_trials_that_are_being_submitted_again_leaves_them(store, store_url, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid()))

    def meanwhile():
        with open_store(store_url) as other:
            control.delete_experiment(other, first.id)

    _once(store._bare, "before_cursor_execute", "SELECT pg_advisory_xact_lock", meanwhile)
    second = submissions.create_experiment(store, expand(tiny_grid()))
    assert experiments.get_summary(store, second.id).counts[TrialState.QUEUED] == second.total == 6


@pytest.mark.parametrize(
    ("change", "state"),
    [(control.cancel_experiment, "cancelled"), (control.pause_experiment, "paused")],
)
def test_many_trials_are_changed_some_at_a_time(store, store_url, tiny_grid, monkeypatch, change, state):
    monkeypatch.setattr(settling, "PIECE", 4)
    neighbour = submissions.create_experiment(store, expand(tiny_grid(seeds=[100])))
    large = submissions.create_experiment(store, expand(tiny_grid(seeds=10)))
    assert change(store, large.id).state == state
    turns, write = [], store.write

    def after_another():
        with open_store(store_url) as other:
            turns.append(control.change_experiment(other, neighbour.id, {"priority": len(turns)}).priority)
        return write()

    with monkeypatch.context() as patched:
        patched.setattr(store, "write", after_another)
        assert settling.settle_all(store)
    assert turns == [0, 1, 2, 3, 4]
    assert experiments.get_summary(store, large.id).state == state
    if state == "paused":
        again = control.resume_experiment(store, large.id, max_queued=22)
        assert (again.state, again.counts[TrialState.QUEUED]) == (ExperimentState.QUEUED, 20)


def test_many_trials_that_were_there_before_are_wanted_again(store, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid(seeds=10)))
    control.cancel_experiment(store, first.id)
    second = submissions.create_experiment(store, expand(tiny_grid(seeds=12)))
    assert (second.total, second.new, second.state) == (24, 24, ExperimentState.QUEUED)
    assert experiments.get_summary(store, second.id).counts[TrialState.QUEUED] == 24
