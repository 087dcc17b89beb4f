"""Tables of very many trials are packed in the database, and say what tables say that look at each trial."""

import itertools
from typing import Any

import pytest
from reports import LEASE, lease, report

from service.grid.expansion import expand
from service.questions.reductions import Reduction
from service.store import control, reports, results, submissions
from service.store.reports import End
from service.store.results import Question, group_table

ALL = ("mean", "std", "median", "q05", "min", "max", "sem", "count", "ci95")


@pytest.fixture
def two(store, tiny_grid):
    """Two experiments that share trials: completed with different values and none, failed, cancelled and waiting."""
    axes = {"training.weight_decay": [0, 0.1], "training.learning_rate": [0.1, 0.01]}
    first = submissions.create_experiment(store, expand(tiny_grid(axes=axes, seeds=5))).id
    values = iter([0.1, 0.7, float("nan"), 0.3, 1e-9, 0.2, 1e6])
    for _ in range(7):
        reports.record(store, report(lease(store, lanes=2), [0, 20], ends=True, value=next(values)), LEASE)
    (one,) = lease(store, lanes=1)
    reports.fail(store, one.trial_id, one.attempt, End(one.trial_id, "failed", 7, "why", {}))
    second = submissions.create_experiment(store, expand(tiny_grid(axes=axes, seeds=6))).id
    control.cancel_experiment(store, first)
    return first, second


LAYERS = (1, 2)
METRICS = (("alignment",), ("train_loss", "alignment"), ("train_loss",))
GROUPS = (
    (("training.weight_decay", "training.learning_rate"), ""),
    (("training.learning_rate",), "training.weight_decay < 0.05"),
    ((), ""),
    (("network.depth",), "training.weight_decay > 3"),
)


def test_both_ways_say_the_same_to_the_last_bit(store, two, monkeypatch):
    for layer, metrics, (group_by, where) in itertools.product(LAYERS, METRICS, GROUPS):
        question = Question(group_by, metrics, layer, Reduction("final"), ALL, where)
        assert question.is_packed
        for first, *also in (two[:1], two):
            packed = group_table(store, first, question, also)
            with monkeypatch.context() as patched:
                patched.setattr(results, "are_packed", lambda *_: False)
                assert packed == group_table(store, first, question, also), question


@pytest.mark.parametrize(
    "asked",
    [
        {"group_by": ("seed",)},
        {"group_by": ("state",)},
        {"where": "final.alignment > 0.2"},
        {"where": "seed > 1"},
        {"layer": "embedding"},
        {"metrics": ("alignment@0.25",)},
        {"reduction": Reduction("min")},
    ],
)
def test_what_is_about_each_trial_is_not_packed(asked):
    told: dict[str, Any] = {
        "group_by": (),
        "metrics": ("alignment",),
        "layer": 1,
        "reduction": Reduction("final"),
        "aggregates": ALL,
    }
    assert Question(**told).is_packed
    assert not Question(**(told | asked)).is_packed
