"""What becomes of a stack that failed, in the store."""

import pytest
from sqlalchemy import select

from service.grid.expansion import expand
from service.store import leases, submissions
from service.store.attempts import Place
from service.store.models import trial
from workers.failures import Failures
from workers.running import Running
from workers.tally import Tally

LEASE = 30.0


@pytest.fixture
def running(store, tiny_grid):
    """A stack of eight."""
    submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=8)))
    return Running(tuple(leases.lease_stack(store, "d", lease_seconds=LEASE, choose=lambda settings, waiting: 8)))


@pytest.fixture
def failures(store):
    return Failures(store, LEASE, {"service": "x"}, Tally())


def _states(store):
    with store.read() as connection:
        rows = connection.execute(
            select(trial.c.id, trial.c.state, trial.c.error, trial.c.failures).order_by(trial.c.id)
        )
        return [(row.state, row.error, row.failures) for row in rows]


def test_lanes_that_fail_by_themselves_end_and_the_rest_stays_one_stack(store, running, failures):
    refused = {2: "KeyError: 'two'", 5: "KeyError: 'five'"}
    failures.failed(running, "KeyError: 'two'", is_final=True, refused=refused)
    again = failures.due(("auto",), Place("here", "n1"))
    assert [one.attempt for one in again] == [2] * 6
    assert failures.retries == []
    states = _states(store)
    assert [states[2], states[5]] == [("failed", refused[2], 1), ("failed", refused[5], 1)]
    assert {state for lane, (state, *_) in enumerate(states) if lane not in refused} == {"running"}
    assert {charged for lane, (*_, charged) in enumerate(states) if lane not in refused} == {0}


def test_where_all_lanes_fail_by_themselves_nothing_is_tried_again(store, running, failures):
    failures.failed(running, "ValueError: no", is_final=True, refused=dict.fromkeys(range(8), "ValueError: no"))
    assert failures.retries == [] and failures.held() == []
    assert set(_states(store)) == {("failed", "ValueError: no", 1)}


def test_a_stack_of_which_nothing_is_known_is_halved(store, running, failures):
    failures.failed(running, "the trainer died", is_final=False)
    halves = [failures.due(("auto",), Place()) for _ in range(2)]
    assert [len(half) for half in halves] == [4, 4]
    assert set(_states(store)) == {("running", "the trainer died", 0)}


def test_what_was_taken_meanwhile_is_not_tried_again(store, running, failures):
    failures.interrupted(running, "the node died")
    held = failures.held()
    assert len(held) == 8
    failures.drop(frozenset(held[:3]))
    assert failures.held() == held[3:]
    failures.release_but(("cpu",))
    assert failures.held() == []
    assert {state for state, *_ in _states(store)} == {"queued", "running"}


def test_trials_of_a_stack_whose_checkpoints_were_written_in_part_go_on_apart(store, running, failures):
    running.trials = tuple(
        one._replace(checkpoint_step=64 if lane < 3 else -1) for lane, one in enumerate(running.trials)
    )
    failures.interrupted(running, "the node died")
    found = [{trial.checkpoint_step for trial in part} for _, part in failures.retries]
    assert found == [{64}, {-1}]
    assert [len(part) for _, part in failures.retries] == [3, 5]


def test_stacks_of_which_one_ended_their_trainer_are_tried_again_each_by_itself_and_charged_to_nobody(
    store, running, failures
):
    parts = [Running(running.trials[:1]), Running(running.trials[1:5]), Running(running.trials[5:])]
    for part in parts:
        failures.suspected(part, "the trainer died")
    again = [failures.due(("auto",), Place()) for _ in parts]
    assert [[one.trial_id for one in stack] for stack in again] == [[t.trial_id for t in part.trials] for part in parts]
    assert {one.attempt for stack in again for one in stack} == {2}
    assert set(_states(store)) == {("running", "the trainer died", 0)}
