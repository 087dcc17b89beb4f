"""Trainers and dispatchers that are killed while they measure kept weights: every number is there, once."""

import os
import signal

import pytest
from processes import DispatcherProcess, charged, progress, trainers, wait_for_end, wait_until
from sqlalchemy import select

from service.grid.expansion import expand
from service.grid.remeasurement import read_remeasuring
from service.store import submissions
from service.store.measured_models import layer_measurement, measurement
from service.store.models import remeasured_trial, trial
from service.store.remeasurements import list_remeasurements, measure_again

GRID = {
    "name": "kept",
    "trial": {
        # cheap to train, dear to measure
        "data": {"samples": 300, "inputs": 40, "outputs": 20, "spectrum": [2, 1]},
        "network": {"depth": 3, "width": 40, "activation": "tanh"},
        "training": {"steps": 3},
        "measure": {"points": 2, "metrics": ["train_loss"], "weights": [0, 1, 2, 3]},
    },
    "axes": {"training.weight_decay": [0, 0.1]},
    "seeds": 60,
}
ASKED = {"metrics": ["alignment", "pearson"], "layers": "all"}


def _jobs(store):
    with store.read() as connection:
        return connection.execute(select(remeasured_trial).order_by(remeasured_trial.c.id)).all()


def _running(store) -> int:
    return sum(job.state == "running" for job in _jobs(store))


def _measured(store, experiment: str) -> bool:
    [one] = list_remeasurements(store, experiment)
    return one.counts["completed"] == one.trials


@pytest.fixture
def trained(store, dispatchers) -> tuple[str, DispatcherProcess]:
    experiment = submissions.create_experiment(store, expand(GRID)).id
    dispatcher = dispatchers.start(RAY_timeout_ms_task_wait_for_death_info="15000")
    wait_for_end(store, experiment)
    return experiment, dispatcher


def _check(store, experiment: str, before: list[object]) -> None:
    with store.read() as connection:
        assert connection.execute(select(trial).order_by(trial.c.id)).all() == before, "trials stay as they ended"
        network = connection.execute(select(measurement.c.trial_id, measurement.c.step)).all()
        numbers = connection.execute(select(layer_measurement)).all()
    # the steps that were kept and not measured have a row of their own now
    assert sorted(network) == [(key, step) for key in range(1, 121) for step in range(4)]
    assert len(numbers) == 120 * 4 * 3
    assert all(row.alignment is not None and row.pearson is not None for row in numbers)
    assert charged(store) == 0
    assert all(job.failures <= 1 for job in _jobs(store))


def test_a_dispatcher_that_is_killed_while_it_measures_leaves_nothing_half_written(store, dispatchers, trained):
    experiment, first = trained
    with store.read() as connection:
        before = connection.execute(select(trial).order_by(trial.c.id)).all()
    assert measure_again(store, experiment, read_remeasuring(ASKED).asked()).trials == 120
    wait_until(lambda: _running(store))
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    running = _running(store)
    dispatchers.start()
    wait_until(lambda: _measured(store, experiment), grown=lambda: progress(store))
    _check(store, experiment, before)
    assert sum(job.attempt > 1 for job in _jobs(store)) >= running > 0


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_trainer_that_is_killed_while_it_measures_is_replaced_and_its_stack_halved(store, trained):
    experiment, dispatcher = trained
    with store.read() as connection:
        before = connection.execute(select(trial).order_by(trial.c.id)).all()
    measure_again(store, experiment, read_remeasuring(ASKED).asked())
    wait_until(lambda: dispatcher.events("measuring_started"))
    os.kill(min(trainers(store)), signal.SIGKILL)
    wait_until(lambda: _measured(store, experiment), grown=lambda: progress(store))
    _check(store, experiment, before)
    assert len(dispatcher.events("trainer_died")) == 1
    assert any(job.stack_limit for job in _jobs(store))
