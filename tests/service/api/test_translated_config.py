"""A published deep-linear study, translated: a spiked covariance, layers that start at zero, numbers as YAML has them.

Source: configs exp1 and exp5 of github.com/niladri-chatterji/benign-deep-linear, at a tenth of their sizes.
"""

import math

import pytest

GRID = """
name: benign deep linear
trial:
  data: {samples: 10, outputs: 2, spectrum: [1, 1], noise: 0.1}
  network: {depth: 3, width: 24}
  init: {scheme: layer_scales, first: 1.0e-3, last: 1}
  training: {learning_rate: 1.0e-2, steps: 4.0e+2, loss: half, stop: {loss_below: 1.0e-7}}
  measure: {points: 12, layers: all, metrics: all}
zip:
  - data.inputs: {linear: [12, 20, 2]}
    data.covariance: [{repeat: [[1, 2], [0.01, 10]]}, {repeat: [[1, 2], [1.0e-2, 18]]}]
axes:
  init:
    - {first: 0.0}
    - {last: 0.0}
    - {first: 0.0, last: 0.0}
seeds: 2
claims:
  - {id: fits, metric: relative_loss, every_trial: "< 1", gate: none}
  - id: aligns
    metric: alignment
    reduce: first_above:0.5
    where: init.last == 0 and init.first != 0
    any_trial: ">= 0"
    gate: none
"""


@pytest.fixture
def study(api, train_queue):
    """The experiment, trained; its id."""
    made = api.post("/api/v1/experiments", content=GRID, headers={"content-type": "application/yaml"})
    assert made.status_code == 201, made.text
    assert made.json()["trials"]["total"] == 12
    train_queue()
    return made.json()["id"]


def test_layers_that_start_at_zero_are_undefined_there_and_numbers_as_soon_as_they_move(api, study):
    root = f"/api/v1/experiments/{study}"
    items = api.get(f"{root}/trials").json()["items"]
    assert {one["state"] for one in items} == {"completed"} and len(items) == 12
    for one in items:
        init = one["settings"]["init"]
        never = init["first"] == init["last"] == 0
        for layer in (1, 2, 3):
            series = api.get(f"/api/v1/trials/{one['id']}/measurements", params={"layer": layer}).json()
            for name, values in series.items():
                assert all(value is None or isinstance(value, str) or math.isfinite(value) for value in values), name
            # M = 0 where the layer is zero, G = 0 where one above it is: no cosine
            undefined = (init["first"] == 0 and layer == 1) or (init["last"] == 0)
            assert (series["alignment"][0] is None) == undefined
            assert series["train_loss"][0] > 0
            assert all((value is None) == never for value in series["alignment"][1:]), (layer, init)
    assert all(one["final"]["relative_loss"] < 1 for one in items if one["settings"]["init"]["first"] != 0)


def test_its_questions_are_answered_past_what_is_undefined(api, study):
    root = f"/api/v1/experiments/{study}"
    verdicts = {one["id"]: one for one in api.get(f"{root}/verdicts").json()["items"]}
    # both ends at zero is a saddle that gradient descent never leaves
    assert verdicts["fits"]["holds"] is False
    assert verdicts["aligns"]["holds"] is True and verdicts["aligns"]["worst"] > 0
    rows = api.get(f"{root}/results", params={"metric": "alignment", "reduce": "first"}).json()["items"]
    assert {row["alignment_count"] for row in rows} <= {0, 2}
    assert all((row["alignment_mean"] is None) == (row["alignment_count"] == 0) for row in rows)
    asked = {"metric": "alignment", "group_by": "init.last,init.first", "agg": "mean"}
    curves = api.get(f"{root}/curves", params=asked).json()["items"]
    assert all(value is None or math.isfinite(value) for one in curves for value in one["alignment_mean"])


def test_the_grid_stays_as_readable_as_it_was_written(api, study):
    grid = api.get(f"/api/v1/experiments/{study}").json()["grid"]
    assert grid["zip"][0]["data.covariance"][1] == {"repeat": [[1, 2], [0.01, 18]]}
    assert grid["trial"]["training"]["steps"] == 400
