"""Trials that go on from shorter ones while what trains them is killed: every row once, each number as undisturbed."""

import os
import signal
from typing import Any

import pytest
from comparison import LONG_GRID, assert_as_undisturbed, undisturbed
from processes import charged, progress, trainers, wait_for_end, wait_until
from sqlalchemy import select

from service.grid.expansion import expand
from service.states import TrialState
from service.store import submissions, trials
from service.store.models import trial

SHORT, LONG = 6_000, 18_000


@pytest.fixture(scope="module")
def grid():
    settings: Any = LONG_GRID["trial"]
    longer = {**settings, "training": {"learning_rate": 0.01, "keep": "state"}}
    axes = {"training.steps": [SHORT, LONG], "training.weight_decay": [0, 0.1]}
    return expand({**LONG_GRID, "trial": longer, "axes": axes, "seeds": 2})


@pytest.fixture(scope="module")
def alone(grid):
    """What nobody disturbs, for both databases."""
    return undisturbed(grid)


def _on_the_way(store, beyond):
    """Whether trials that went on from shorter ones run, with a checkpoint of their own beyond a step."""
    with store.read() as connection:
        query = select(trial.c.checkpoint_step).where(
            trial.c.state == TrialState.RUNNING, trial.c.continued_from.is_not(None), trial.c.checkpoint_step > beyond
        )
        return connection.scalar(query.limit(1))


def test_a_killed_trainer_and_a_killed_dispatcher_leave_continued_trials_whole(store, dispatchers, grid, alone):
    submitted = submissions.create_experiment(store, grid).id
    first = dispatchers.start()
    reached = wait_until(lambda: _on_the_way(store, SHORT), grown=lambda: progress(store))
    os.kill(wait_until(lambda: min(trainers(store), default=None)), signal.SIGKILL)
    wait_until(lambda: _on_the_way(store, reached), grown=lambda: progress(store))
    first.signal(signal.SIGKILL)
    first.process.wait()
    dispatchers.start()
    wait_for_end(store, submitted)
    assert_as_undisturbed(store, submitted, alone)
    assert charged(store) == 0
    listed, _ = trials.list_trials(store, submitted, state=None, where="", sort=None, limit=100, after=None)
    for one in listed:
        assert one.row.provenance is not None
        lineage = one.row.provenance.get("continued_from", {})
        is_longer = one.row.settings["training"]["steps"] == LONG
        assert lineage.get("step") == (SHORT if is_longer else None)
