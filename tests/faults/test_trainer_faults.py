"""Trainers that die, hang or crash again and again."""

import math
import os
import resource
import signal
from typing import Any

import psutil
import pytest
from processes import DispatcherProcess, charged, ended, progress, rows, trainers, wait_for_end, wait_until
from scale import STACKED

from service.grid.expansion import expand
from service.states import TrialState
from service.store import experiments, submissions, trials

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture
def one_long_trial(tiny_grid) -> dict[str, Any]:
    trial = {
        **tiny_grid()["trial"],
        "training": {"steps": 2_000_000},
        "measure": {"every": 1000, "metrics": ["train_loss"]},
    }
    return {"name": "one long trial", "trial": trial}


def _trainer(store) -> int | None:
    """Process id of the only dispatcher's only trainer, once it is known."""
    return min(trainers(store), default=None)


def _kill_whoever_trains(store, dispatcher: DispatcherProcess, culprit: str, seen: set[int]) -> bool:
    """Kill the trainer if it was given the culprit once more; whether it was."""
    if sum(culprit in event["trial"] for event in dispatcher.events("stack_started")) == len(seen):
        return False
    pid = wait_until(lambda: _trainer(store) if _trainer(store) not in seen and _is_alive(_trainer(store)) else None)
    os.kill(pid, signal.SIGKILL)
    seen.add(pid)
    wait_until(lambda: len(dispatcher.events("trainer_died")) == len(seen))
    return True


def _is_alive(pid: int | None) -> bool:
    return pid is not None and os.path.exists(f"/proc/{pid}")


def test_a_trial_that_takes_trainers_down_is_found_and_ends_failed_without_charge_to_its_stack(
    store, dispatchers, one_long_trial
):
    one_long_trial["trial"]["training"]["steps"] = 1_500_000
    submitted = submissions.create_experiment(store, expand({**one_long_trial, "seeds": STACKED})).id
    # a death of which Ray has not told for so long counts as a lost node
    dispatcher = dispatchers.start(RAY_timeout_ms_task_wait_for_death_info="15000")
    killed: set[int] = set()

    def kill() -> bool:
        return _kill_whoever_trains(store, dispatcher, "t3", killed) or ended(store, submitted)

    while not ended(store, submitted):
        wait_until(kill, grown=lambda: progress(store))
    rows, _ = trials.list_trials(store, submitted, state=None, where="", sort=None, limit=100, after=None)
    ends = [TrialState.FAILED if n == 2 else TrialState.COMPLETED for n in range(STACKED)]
    assert [one.row.state for one in rows] == ends
    assert [one.row.failures for one in rows] == [3 * (n == 2) for n in range(STACKED)]
    assert "the trainer died: ActorDiedError" in (rows[2].row.error or "")
    assert len(killed) == math.log2(STACKED) + 3


def test_a_trainer_that_hangs_is_killed_and_replaced(store, dispatchers, tiny_grid, one_long_trial):
    submissions.create_experiment(store, expand({**one_long_trial, "seeds": 2}))
    # a trainer that is late is not taken for one that hangs: on a busy machine its first block may take longer than 4 s
    patience = {"NFA_STEP_DEADLINE_SECONDS": "4", "NFA_PING_SECONDS": "4", "NFA_SILENCE_FACTOR": "1e6"}
    dispatcher = dispatchers.start(**patience)
    hung = wait_until(lambda: _trainer(store) if rows(store) else None, grown=lambda: progress(store))
    os.kill(hung, signal.SIGSTOP)
    wait_until(lambda: dispatcher.events("trainer_overdue"))
    wait_until(lambda: len(dispatcher.events("stack_started")) >= 2)
    wait_until(lambda: not _is_alive(hung))
    assert charged(store) == 0


def test_small_stacks_whose_trainer_dies_are_tried_again_each_by_itself_and_charged_to_nobody(
    store, dispatchers, tiny_grid
):
    dispatcher = dispatchers.start()
    stopped = wait_until(lambda: _trainer(store), grown=lambda: progress(store))
    os.kill(stopped, signal.SIGSTOP)
    grid = tiny_grid(seeds=2, axes={"network.width": list(range(2, 14))})
    submitted = submissions.create_experiment(store, expand(grid)).id
    # those that it was given together
    wait_until(lambda: len(dispatcher.events("stack_started")) > 1)
    os.kill(stopped, signal.SIGKILL)
    wait_for_end(store, submitted)
    [lost] = dispatcher.events("trainer_died")
    assert lost["trials"] > 2 and charged(store) == 0
    listed, _ = trials.list_trials(store, submitted, state=None, where="", sort=None, limit=99, after=None)
    assert {one.row.state for one in listed} == {TrialState.COMPLETED}
    assert sorted(one.row.attempt for one in listed) == [1] * (24 - lost["trials"]) + [2] * lost["trials"]


def test_an_idle_trainer_that_dies_is_replaced_and_trials_too_large_for_one_fail_with_the_reason(
    store, dispatchers, expansion, tiny_grid
):
    """Two that one dispatcher lives through, one after the other: to start one takes longer than either."""
    dispatcher = dispatchers.start()
    idle = wait_until(lambda: _trainer(store), grown=lambda: progress(store))
    os.kill(idle, signal.SIGKILL)
    wait_until(lambda: dispatcher.events("idle_trainer_died"))
    submitted = submissions.create_experiment(store, expansion).id
    wait_for_end(store, submitted)
    assert dispatcher.events("trainer_died") == []
    assert charged(store) == 0

    large = tiny_grid(name="too large", seeds=2, axes={})
    large["trial"]["data"] = {"samples": 40_000, "inputs": 400, "outputs": 2, "spectrum": [2, 1]}
    pid = wait_until(lambda: _trainer(store))
    # what it may still allocate is less than the data of one trial
    room = psutil.Process(pid).memory_info().vms + 50 * 2**20
    resource.prlimit(pid, resource.RLIMIT_AS, (room, room))
    submitted = submissions.create_experiment(store, expand(large)).id
    after = submissions.create_experiment(store, expand(tiny_grid(seeds=[5]))).id
    wait_for_end(store, submitted, after)
    listed, _ = trials.list_trials(store, submitted, state=None, where="", sort=None, limit=9, after=None)
    assert [(one.row.state, one.row.failures) for one in listed] == [(TrialState.FAILED, 3)] * 2
    assert all("alloc" in (one.row.error or "").lower() for one in listed), listed[0].row.error
    assert experiments.get_experiment(store, after).counts[TrialState.COMPLETED] == 2
