"""How far an experiment is: its steps count, not its ended trials."""

import pytest
from reports import LEASE, lease, report

from service.grid.expansion import expand
from service.states import ExperimentState
from service.store import experiments, reports, submissions
from service.store.step_counts import count_steps


def test_steps_of_a_running_stack_are_progress(store, expansion):
    made = submissions.create_experiment(store, expansion).id
    assert experiments.get_summary(store, made).progress == 0.0
    leased = lease(store)
    assert reports.record(store, report(leased, [0, 5]), LEASE) == frozenset()
    # six trials of twenty steps
    for one in (experiments.get_summary(store, made), experiments.list_experiments(store, limit=1, before=None)[0][0]):
        assert one.progress == 0.25 and one.state == ExperimentState.RUNNING
        assert one.eta_seconds is not None and one.eta_seconds >= 0
    reports.record(store, report(leased, [20], ends=True, first=False), LEASE)
    ended = experiments.get_summary(store, made)
    assert (ended.progress, ended.eta_seconds) == (1.0, 0.0)


def test_trials_of_another_sweep_count_as_done_and_not_as_speed(store, expansion, tiny_grid):
    submissions.create_experiment(store, expansion)
    reports.record(store, report(lease(store), [0, 20], ends=True), LEASE)
    wider = submissions.create_experiment(store, expand(tiny_grid(seeds=6))).id
    assert experiments.get_summary(store, wider).progress == pytest.approx(0.5)
    leased = lease(store)
    reports.record(store, report(leased, [0, 10]), LEASE)
    assert experiments.get_summary(store, wider).progress == pytest.approx(0.75)
    assert count_steps(store, wider).left == 60
