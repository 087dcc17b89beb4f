"""Trials, measurements, tables and verdicts of a sweep that was trained: numbers against recomputation."""

import statistics

import pytest

from nfa_kernels import names

ROOT = "/api/v1/experiments"
CLAIMS = [
    {
        "id": "decays",
        "says": "decay shrinks the imbalance",
        "metric": "imbalance",
        "every_trial": "<= 100",
        "gate": "none",
    },
    {"id": "wrong", "says": "nothing is aligned", "metric": "alignment", "every_trial": "<= 0.001", "gate": "none"},
]


@pytest.fixture
def swept(api, submit, train_queue):
    """A completed experiment of six trials."""
    made = submit(claims=CLAIMS)
    train_queue()
    return made["id"]


def test_a_trial_shows_settings_finals_and_provenance(api, swept):
    listed = api.get(f"{ROOT}/{swept}/trials").json()["items"]
    assert [one["seed"] for one in listed] == [0, 1, 2] * 2
    one = api.get(f"/api/v1/trials/{listed[0]['id']}").json()
    assert one["state"] == "completed" and one["attempt"] == 1 and one["error"] is None
    assert one["settings"]["training"]["steps"] == 20 and one["last_step"] == 20
    assert one["provenance"] == {"node": "here", "from_step": -1} and len(one["fingerprint"]) == 64
    (attempt,) = one["attempts"]
    assert (attempt["number"], attempt["dispatcher"], attempt["outcome"]) == (1, "here", "completed")
    assert attempt["started_at"] <= attempt["ended_at"] and attempt["error"] is None
    final = one["final"]
    assert 0 <= final["alignment"] <= 1 + 1e-12 and final["train_loss"] > 0
    assert final["best_exponent_kind"] in names.METRICS["best_exponent_kind"].words
    assert final["test_loss"] is None


def test_measurements_are_columns_of_equal_length_that_end_at_the_final_values(api, swept):
    trial = api.get(f"{ROOT}/{swept}/trials").json()["items"][0]
    path = f"/api/v1/trials/{trial['id']}/measurements"
    network = api.get(path).json()
    assert network["step"] == [0, 1, 3, 7, 20] and len(set(map(len, network.values()))) == 1
    assert network["train_loss"][-1] == trial["final"]["train_loss"]
    assert network["time"] == pytest.approx([0.02 * step for step in network["step"]], abs=1e-15)
    layer = api.get(path, params={"metrics": "alignment,train_loss", "layer": 1}).json()
    assert set(layer) == {"step", "time", "alignment", "train_loss"}
    assert layer["alignment"][-1] == trial["final"]["alignment"]
    thinned = api.get(path, params={"max_points": 2}).json()
    assert thinned["step"] == [0, 20]


def test_a_group_by_table_equals_recomputation_from_the_trials(api, swept):
    rows = api.get(f"{ROOT}/{swept}/results", params={"agg": "mean,std,sem,min,max,median,count"}).json()["items"]
    trials = api.get(f"{ROOT}/{swept}/trials").json()["items"]
    assert [row["training.weight_decay"] for row in rows] == [0, 0.1]
    for row in rows:
        values = [
            one["final"]["alignment"]
            for one in trials
            if one["settings"]["training"]["weight_decay"] == row["training.weight_decay"]
        ]
        assert (row["trials"], row["incomplete"], row["alignment_count"]) == (3, 0, 3)
        assert row["alignment_mean"] == pytest.approx(statistics.fmean(values), abs=1e-12)
        assert row["alignment_std"] == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-12)
        assert row["alignment_sem"] == pytest.approx(statistics.stdev(values) / 3**0.5, rel=1e-9, abs=1e-12)
        assert (row["alignment_min"], row["alignment_max"]) == (min(values), max(values))
        assert row["alignment_median"] == statistics.median(values)


def test_curves_are_by_exact_step_and_count_their_trials(api, swept):
    items = api.get(f"{ROOT}/{swept}/curves", params={"metric": "train_loss"}).json()["items"]
    assert len(items) == 2
    for item in items:
        assert item["step"] == [0, 1, 3, 7, 20] and item["train_loss_count"] == [3] * 5


def test_verdicts_name_the_worst_value_and_its_trial(api, swept):
    right, wrong = api.get(f"{ROOT}/{swept}/verdicts").json()["items"]
    trials = {one["id"]: one["final"] for one in api.get(f"{ROOT}/{swept}/trials").json()["items"]}
    assert right["holds"] is True and right["trials"] == 6
    assert right["worst"] == max(final["imbalance"] for final in trials.values())
    assert wrong["holds"] is False and wrong["threshold"] == "<= 0.001"
    assert trials[wrong["worst_trial"]]["alignment"] == wrong["worst"]


def test_a_verdict_is_open_while_a_trial_is_unfinished(api, submit):
    one = submit(claims=CLAIMS)["id"]
    assert {item["holds"] for item in api.get(f"{ROOT}/{one}/verdicts").json()["items"]} == {None}
    rows = api.get(f"{ROOT}/{one}/results").json()["items"]
    assert [(row["trials"], row["incomplete"], row["alignment_mean"]) for row in rows] == [(3, 3, None)] * 2


def test_trials_are_filtered_sorted_and_paged(api, swept):
    path = f"{ROOT}/{swept}/trials"
    chosen = api.get(path, params={"where": "training.weight_decay > 0 and seed in (0, 2)"}).json()["items"]
    assert [(one["settings"]["training"]["weight_decay"], one["seed"]) for one in chosen] == [(0.1, 0), (0.1, 2)]
    ordered = api.get(path, params={"sort": "-final.train_loss"}).json()["items"]
    losses = [one["final"]["train_loss"] for one in ordered]
    assert losses == sorted(losses, reverse=True)
    paged, cursor = [], None
    while True:
        page = api.get(path, params={"limit": 4} | ({"cursor": cursor} if cursor else {})).json()
        paged += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == [one["id"] for one in api.get(path).json()["items"]]


def test_metric_definitions_name_formula_level_and_source_of_every_metric(api):
    items = {one["id"]: one for one in api.get("/api/v1/metric-definitions").json()["items"]}
    assert set(items) == set(names.METRICS) | set(names.METRIC_FAMILIES)
    assert all(one["formula"] and one["level"] in ("network", "layer") for one in items.values())
    assert items["alignment"]["source"] == "arXiv:2510.15563"
    assert {name for name, one in items.items() if one["only_named"]} == {
        name for name, one in names.METRICS.items() if one.only_named
    }


def test_uploaded_data_is_kept_by_content_and_trained_on(api, submit, train_queue, tiny_grid):
    import io

    import numpy as np

    draw = np.random.default_rng(0)
    held = io.BytesIO()
    x = draw.normal(size=(12, 3))
    np.savez(held, x=x, y=x @ draw.normal(size=(3, 2)))
    headers = {"content-type": "application/x-npz"}
    first = api.post("/api/v1/datasets", params={"name": "mine"}, content=held.getvalue(), headers=headers)
    assert first.status_code == 201, first.text
    assert first.json()["arrays"] == {"x": [12, 3], "y": [12, 2]}
    again = api.post("/api/v1/datasets", params={"name": "mine"}, content=held.getvalue(), headers=headers)
    assert again.status_code == 200 and again.json()["id"] == first.json()["id"]
    assert [one["id"] for one in api.get("/api/v1/datasets").json()["items"]] == [first.json()["id"]]
    trial = tiny_grid()["trial"] | {"data": {"kind": "uploaded", "dataset_id": first.json()["id"]}}
    one = submit(trial=trial)["id"]
    train_queue()
    assert api.get(f"{ROOT}/{one}").json()["state"] == "completed"
