"""Curves against recomputation from the export, where trials stop early, differ in their times, or never ran."""

import io

import numpy as np
import polars as pl
import pytest

from service.store import leases, reports
from service.store.reports import Report
from workers.blocks import Lane, Stack
from workers.training import train

ROOT = "/api/v1/experiments"
TRIAL = {
    "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
    "network": {"depth": 2, "width": 4},
    "training": {"steps": 40},
    "measure": {"points": 6},
}


def exported(api, experiment):
    found = api.get(f"{ROOT}/{experiment}/measurements", params={"format": "parquet"})
    return pl.read_parquet(io.BytesIO(found.content))


@pytest.mark.parametrize(
    "training",
    [{}, {"stop": {"loss_below": 0.3}}, {"schedule": "cosine"}, {"optimizer": "gradient_flow", "horizon": 1.0}],
)
def test_curves_average_exactly_the_trials_that_have_the_step(api, submit, train_queue, training):
    trial = TRIAL | {"training": (TRIAL["training"] if "horizon" not in training else {}) | training}
    axis = "training.learning_rate" if "horizon" not in training else "training.horizon"
    made = submit(trial=trial, axes={axis: [0.02, 0.05], "training.weight_decay": [0, 0.1]}, seeds=4)["id"]
    train_queue()
    table = exported(api, made)
    params = {"group_by": "training.weight_decay", "agg": "mean,std,min,max,median,q25,count"}
    items = api.get(f"{ROOT}/{made}/curves", params=params).json()["items"]
    assert len(items) == 2
    for item in items:
        own = table.filter(pl.col("training.weight_decay") == item["training.weight_decay"], pl.col("alignment") >= 0)
        assert item["step"] == sorted(own["step"].unique())
        for place, step in enumerate(item["step"]):
            rows = own.filter(pl.col("step") == step)
            values = rows["alignment"].to_numpy()
            assert item["alignment_count"][place] == len(values)
            assert item["alignment_mean"][place] == pytest.approx(values.mean(), rel=1e-12)
            assert item["time"][place] == pytest.approx(rows["time"].to_numpy().mean(), rel=1e-12)
            assert item["alignment_median"][place] == pytest.approx(np.median(values), rel=1e-12)
            assert item["alignment_q25"][place] == pytest.approx(np.quantile(values, 0.25), rel=1e-12)
            if len(values) > 1:
                assert item["alignment_std"][place] == pytest.approx(values.std(ddof=1), rel=1e-9)


def test_groups_without_a_completed_trial_have_an_empty_curve(api, submit):
    made = submit()["id"]
    items = api.get(f"{ROOT}/{made}/curves").json()["items"]
    assert [(item["trials"], item["incomplete"], item["step"], item["alignment_mean"]) for item in items] == [
        (3, 3, [], [])
    ] * 2


def test_trials_that_run_enter_with_what_they_have_measured_where_that_is_asked_for(api, submit, store):
    made = submit(trial=TRIAL, axes={}, seeds=2)["id"]
    leased = leases.lease_stack(store, "here", lease_seconds=600.0, choose=lambda settings, waiting: 1)
    # a block as soon as something is measured
    first = next(train(Stack((Lane(leased[0].settings, leased[0].seed),)), block_seconds=0.0))
    assert not first.last and 0 < first.layers.num_rows < TRIAL["measure"]["points"]
    held = ((leased[0].trial_id, leased[0].attempt),)
    report = Report(held, frozenset({0}), True, first.network, first.layers, first.parametrised, ())
    assert reports.record(store, report, 600.0) == frozenset()
    (ended,) = api.get(f"{ROOT}/{made}/curves").json()["items"]
    assert (ended["trials"], ended["incomplete"], ended["step"]) == (2, 2, [])
    (so_far,) = api.get(f"{ROOT}/{made}/curves", params={"running": True, "agg": "mean,count"}).json()["items"]
    assert (so_far["trials"], so_far["incomplete"]) == (2, 2)
    assert so_far["step"] == first.layers.column("step").to_pylist()
    assert so_far["alignment_mean"] == pytest.approx(first.layers.column("alignment").to_pylist(), rel=1e-12)
    assert so_far["alignment_count"] == [1] * len(so_far["step"])
