"""Numbers of layers, and settings of later releases, from a submitted grid to tables, filters and trials."""

import pytest

ROOT = "/api/v1/experiments"
TRIAL = {
    "data": {"samples": 12, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
    "network": {"depth": 2, "width": 4, "bias": True},
    "training": {"steps": 4, "weight_decay": 0.1},
    "measure": {"steps": [0], "metrics": ["weight_norm"]},
}
PATH = "training.layers.1.learning_rate"


@pytest.fixture
def swept(submit, train_queue):
    """Six trials in two stacks: rates of the first layer, last steps, and whether biases decay."""
    made = submit(
        trial=TRIAL,
        axes={PATH: [0.02, 0.2], "training.steps": [4, 9]},
        include=[{"training.decay_biases": False}],
        seeds=1,
    )
    train_queue()
    return made["id"]


def test_tables_tell_layers_apart_also_where_a_layer_has_what_all_have(api, swept):
    found = api.get(f"{ROOT}/{swept}/results", params={"group_by": f"{PATH},training.steps", "metric": "weight_norm"})
    assert found.status_code == 200, found.text
    rows = {(row[PATH], row["training.steps"]): row for row in found.json()["items"]}
    assert set(rows) == {(0.02, 4), (0.02, 9), (0.2, 4), (0.2, 9)}
    assert rows[0.02, 4]["trials"] == 2, "the included one too"
    assert len({row["weight_norm_mean"] for row in rows.values()}) == 4
    spared = api.get(f"{ROOT}/{swept}/results", params={"group_by": "training.decay_biases", "metric": "weight_norm"})
    assert {row["training.decay_biases"]: row["trials"] for row in spared.json()["items"]} == {True: 4, False: 1}


def test_filters_and_sorting_take_paths_into_layers(api, swept):
    found = api.get(f"{ROOT}/{swept}/trials", params={"where": f"{PATH} > 0.1", "sort": f"-{PATH}"})
    assert found.status_code == 200, found.text
    trials = found.json()["items"]
    assert [one["settings"]["training"]["layers"] for one in trials] == [{"1": {"learning_rate": 0.2}}] * 2
    assert {one["settings"]["training"]["steps"] for one in trials} == {4, 9}
    wrong = api.get(f"{ROOT}/{swept}/results", params={"group_by": "training.layers.1.rate"})
    assert wrong.status_code == 422 and "training.layers.1.rate" in wrong.text


def test_preview_ignores_none_of_the_paths_into_layers(api, tiny_grid):
    axes = {PATH: [0.1, 0.2], "training.steps": [4, 9], "training.layers.2.weight_decay": [0, 0.5]}
    answer = api.post(f"{ROOT}/preview", json=tiny_grid(trial=TRIAL, axes=axes, seeds=1)).json()
    assert (answer["trials"], answer["ignored"]) == (8, [])
