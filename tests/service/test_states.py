"""Trial states and what an experiment's state follows from."""

import pytest

from service.states import ENDED, MOVES, ExperimentState, TrialState, experiment_state, may_move


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(TrialState)


def test_a_completed_trial_never_moves() -> None:
    assert not any(may_move(TrialState.COMPLETED, state) for state in TrialState)


def test_a_trial_ends_only_from_running_or_by_cancelling() -> None:
    for state in TrialState:
        for end in ENDED - {TrialState.CANCELLED}:
            assert may_move(state, end) == (state == TrialState.RUNNING)
    assert may_move(TrialState.QUEUED, TrialState.CANCELLED)


def test_work_comes_back_to_the_queue() -> None:
    back = {state for state in TrialState if may_move(state, TrialState.QUEUED)}
    assert back == {TrialState.RUNNING, TrialState.CANCELLED, TrialState.FAILED, TrialState.DIVERGED}


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({"queued": 3}, "queued"),
        ({"queued": 2, "running": 1}, "running"),
        ({"queued": 2, "completed": 1}, "running"),
        ({"queued": 2, "cancelled": 1}, "running"),
        ({"running": 1, "failed": 1}, "running"),
        ({"completed": 3}, "completed"),
        ({"completed": 2, "diverged": 1}, "completed"),
        ({"completed": 2, "cancelled": 1}, "completed"),
        ({"completed": 2, "failed": 1}, "failed"),
        ({"cancelled": 2, "failed": 1}, "failed"),
        ({"cancelled": 3}, "cancelled"),
        ({}, "completed"),
    ],
)
def test_an_experiments_state_follows_from_its_trials(counts: dict[str, int], state: str) -> None:
    by_state = {TrialState(name): count for name, count in counts.items()}
    assert experiment_state(by_state, paused=False) == ExperimentState(state)
    assert experiment_state(by_state, paused=True) == ExperimentState.PAUSED
