"""Submitting: what is stored, what is shared, and that nothing is half-written."""

import threading

import pytest
from sqlalchemy import event, func, select

from service.errors import IdempotencyMismatch, NotFound, TooMany
from service.grid.expansion import expand
from service.states import ExperimentState, TrialState
from service.store import control, experiments, submissions, trials
from service.store.models import experiment, experiment_trial, settings, trial
from service.store.session import open_store


def _count(store, table):
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def test_a_submission_stores_one_trial_per_point_and_seed_in_the_grids_order(store, expansion):
    created = submissions.create_experiment(store, expansion)
    assert (created.total, created.new, created.reused, created.state) == (6, 6, 0, ExperimentState.QUEUED)
    listed, following = trials.list_trials(store, created.id, state=None, where="", sort=None, limit=10, after=None)
    assert following is None
    assert [(one.row.settings["training"]["weight_decay"], one.row.seed) for one in listed] == [
        (decay, seed) for decay in (0.0, 0.1) for seed in (0, 1, 2)
    ]
    assert _count(store, settings) == 2


def test_submitting_the_same_grid_again_makes_no_new_trial(store, expansion):
    submissions.create_experiment(store, expansion)
    again = submissions.create_experiment(store, expansion)
    assert (again.total, again.new, again.reused) == (6, 0, 6)
    assert _count(store, trial) == 6
    assert _count(store, experiment) == 2


def test_adding_seeds_runs_only_what_is_new(store, tiny_grid):
    submissions.create_experiment(store, expand(tiny_grid()))
    wider = submissions.create_experiment(store, expand(tiny_grid(seeds=5)))
    assert (wider.total, wider.new, wider.reused) == (10, 4, 6)
    known = submissions.known_fingerprints(store, [one for *_, one in expand(tiny_grid(seeds=7)).trials()])
    assert len(known) == 10


def test_overlapping_grids_submitted_at_the_same_moment_share_the_overlap(store, store_url, tiny_grid):
    grids = [expand(tiny_grid(seeds=list(range(start, start + 20)))) for start in (0, 5, 10, 15)]
    barrier, answers = threading.Barrier(4), []

    def submit(grid):
        with open_store(store_url) as own:
            barrier.wait()
            answers.append(submissions.create_experiment(own, grid))

    threads = [threading.Thread(target=submit, args=(grid,)) for grid in grids]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(answers) == 4
    assert sum(answer.new for answer in answers) == _count(store, trial) == 2 * 35


def test_a_repeated_idempotency_key_answers_the_first_experiment_and_refuses_another_body(store, expansion):
    first = submissions.create_experiment(store, expansion, idempotency_key="k", body_digest="a")
    again = submissions.create_experiment(store, expansion, idempotency_key="k", body_digest="a")
    assert (again.id, again.new, again.is_replay) == (first.id, 6, True)
    with pytest.raises(IdempotencyMismatch):
        submissions.create_experiment(store, expansion, idempotency_key="k", body_digest="b")
    assert _count(store, experiment) == 1


def test_an_error_in_the_middle_of_a_submission_leaves_nothing_behind(store, expansion):
    def fail(_connection, _cursor, statement, *_):
        if statement.startswith("SELECT tally.experiment_id"):
            raise ZeroDivisionError

    event.listen(store._writer, "before_cursor_execute", fail)
    with pytest.raises(ZeroDivisionError):
        submissions.create_experiment(store, expansion)
    event.remove(store._writer, "before_cursor_execute", fail)
    assert [_count(store, table) for table in (experiment, trial, settings, experiment_trial)] == [0, 0, 0, 0]


def test_cancelling_spares_what_another_experiment_wants_and_a_new_submission_revives_the_rest(store, tiny_grid):
    first = submissions.create_experiment(store, expand(tiny_grid()))
    second = submissions.create_experiment(store, expand(tiny_grid(seeds=1)))
    cancelled = control.cancel_experiment(store, first.id)
    assert cancelled.state == ExperimentState.CANCELLED
    assert cancelled.counts[TrialState.CANCELLED] == 6
    assert experiments.get_experiment(store, second.id).counts[TrialState.QUEUED] == 2
    revived = submissions.create_experiment(store, expand(tiny_grid()))
    assert (revived.new, revived.reused) == (4, 2)
    assert experiments.get_experiment(store, revived.id).counts[TrialState.QUEUED] == 6


def test_lists_page_newest_first_and_filter_by_state_tag_and_name(store, tiny_grid):
    ids = [
        submissions.create_experiment(store, expand(tiny_grid(name=f"Run {n}", tags=["t", f'q"{n}']))).id
        for n in range(5)
    ]
    page, following = experiments.list_experiments(store, limit=2, before=None)
    assert [one.id for one in page] == ids[:-3:-1]
    page, following = experiments.list_experiments(store, limit=10, before=following)
    assert ([one.id for one in page], following) == (ids[2::-1], None)

    def found(**filters):
        return [one.id for one in experiments.list_experiments(store, limit=10, before=None, **filters)[0]]

    assert found(tag='q"3') == [ids[3]]
    assert found(q="rUN 2") == [ids[2]]
    assert found(q="%") == []
    control.cancel_experiment(store, ids[0])
    assert found(state="queued") == ids[:0:-1] or found(state="cancelled") == [ids[0]]


def test_ids_that_cannot_be_are_not_found(store):
    for wrong in ("e1", "t1", "1", "", "e0", "e-1", "e1' OR 1=1", "e" + "9" * 30):
        with pytest.raises(NotFound):
            experiments.get_experiment(store, wrong)


def test_a_full_queue_is_its_owners_alone(store, tiny_grid):
    def submit(owner, first):
        grid = expand(tiny_grid(axes={}, seeds=list(range(first, first + 5))))
        return submissions.create_experiment(store, grid, owner=owner, max_queued=8)

    submit("anna", 0)
    # others' trials do not count, before and after
    submit("ben", 100)
    with pytest.raises(TooMany, match="anna would have 10"):
        submit("anna", 200)
    submit("eva", 300)
    with pytest.raises(TooMany, match="ben would have 10"):
        submit("ben", 400)
