"""Submitting, previewing, listing and steering experiments over REST."""

import json

import pytest

from service.api.grid_bodies import EXAMPLE, EXAMPLE_YAML
from service.presets import list_presets

ROOT = "/api/v1/experiments"


def test_a_submission_answers_where_it_is_and_what_is_new(api, tiny_grid):
    answer = api.post(ROOT, json=tiny_grid())
    assert answer.status_code == 201
    found = answer.json()
    assert answer.headers["location"] == f"{ROOT}/{found['id']}"
    assert found == {
        "id": found["id"],
        "name": "tiny",
        "state": "queued",
        "trials": {"total": 6, "new": 6, "reused": 0},
    }
    seen = api.get(answer.headers["location"]).json()
    assert seen["counts"] == {"queued": 6, "running": 0, "completed": 0, "diverged": 0, "failed": 0, "cancelled": 0}
    assert seen["grid"] == tiny_grid() and seen["axes"] == ["training.weight_decay"]
    assert seen["progress"] == 0 and seen["eta_seconds"] is None and seen["created_at"].endswith("Z")
    assert api.get(answer.headers["location"], params={"grid": False}).json() == seen | {"grid": {}}


def test_the_same_grid_again_makes_no_new_trial(submit):
    submit()
    assert submit()["trials"] == {"total": 6, "new": 0, "reused": 6}
    assert submit(seeds=5)["trials"] == {"total": 10, "new": 4, "reused": 6}


def test_a_grid_may_be_yaml_or_json_and_means_the_same(api, submit):
    answer = api.post(ROOT, content=EXAMPLE_YAML, headers={"content-type": "application/yaml"})
    assert answer.status_code == 201 and answer.json()["trials"]["new"] == 9
    answer = api.post(ROOT, json=EXAMPLE)
    assert answer.json()["trials"] == {"total": 9, "new": 0, "reused": 9}


def test_preview_counts_what_a_submission_would_make_and_stores_nothing(api, submit, tiny_grid):
    submit(seeds=2)
    seen = api.post(f"{ROOT}/preview", json=tiny_grid()).json()
    assert (seen["trials"], seen["new"], seen["reused"]) == (6, 2, 4)
    assert seen["stacks"] >= 1 and seen["estimated_seconds"] > 0
    assert seen["axes"] == {"training.weight_decay": [0, 0.1]}
    assert len(api.get(ROOT).json()["items"]) == 1


def test_a_repeated_idempotency_key_answers_the_first_experiment(api, tiny_grid):
    headers = {"Idempotency-Key": "once"}
    first = api.post(ROOT, json=tiny_grid(), headers=headers)
    again = api.post(ROOT, json=tiny_grid(), headers=headers)
    assert again.status_code == 201 and again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = api.post(ROOT, json=tiny_grid(seeds=1), headers=headers)
    assert other.status_code == 422 and other.json()["code"] == "idempotency_mismatch"
    assert len(api.get(ROOT).json()["items"]) == 1


def test_lists_are_paged_newest_first_and_filtered(api, submit):
    ids = [submit(name=f"sweep {number}", tags=["odd"] if number % 2 else [])["id"] for number in range(5)]
    first = api.get(ROOT, params={"limit": 2}).json()
    rest = api.get(ROOT, params={"limit": 10, "cursor": first["next_cursor"]}).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert [one["name"] for one in api.get(ROOT, params={"tag": "odd"}).json()["items"]] == ["sweep 3", "sweep 1"]
    assert [one["name"] for one in api.get(ROOT, params={"q": "SWEEP 4"}).json()["items"]] == ["sweep 4"]
    assert api.get(ROOT, params={"q": "100%"}).json()["items"] == []
    assert api.get(ROOT, params={"state": "completed"}).json()["items"] == []


def test_cancelling_pausing_and_retrying_move_what_is_unfinished(api, submit):
    one = f"{ROOT}/{submit()['id']}"
    assert api.post(f"{one}/pause").json()["state"] == "paused"
    assert api.post(f"{one}/resume").json()["state"] == "queued"
    assert api.post(f"{one}/cancel").json()["counts"]["cancelled"] == 6
    assert api.get(one).json()["state"] == "cancelled"
    again = api.post(f"{one}/retry", json={"which": "cancelled"}).json()
    assert again["counts"]["queued"] == 6 and again["state"] == "queued"


def test_an_experiment_can_be_renamed_tagged_and_given_another_priority(api, submit):
    one = f"{ROOT}/{submit()['id']}"
    changed = api.patch(one, json={"name": "better", "tags": ["t2"], "priority": 3, "notes": "see page 4"}).json()
    assert (changed["name"], changed["tags"], changed["priority"], changed["notes"]) == (
        "better",
        ["t2"],
        3,
        "see page 4",
    )
    assert api.get(one).json()["name"] == "better"
    refused = api.patch(one, json={"nmae": "x"})
    assert refused.status_code == 422 and refused.json()["errors"][0]["path"] == "nmae"


def test_extending_runs_only_what_is_new_and_keeps_the_places_of_the_rest(api, submit):
    made = submit()
    one = f"{ROOT}/{made['id']}"
    before = [trial["id"] for trial in api.get(f"{one}/trials").json()["items"]]
    grown = api.post(f"{one}/extend", json={"axes": {"training.weight_decay": [0.1, 0.2]}, "seeds": 4})
    assert grown.status_code == 200, grown.text
    assert grown.json()["trials"] == {"total": 12, "new": 6, "reused": 6}
    after = [trial["id"] for trial in api.get(f"{one}/trials").json()["items"]]
    assert after[:6] == before and len(set(after)) == 12
    grid = api.get(one).json()["grid"]
    assert grid["axes"] == {"training.weight_decay": [0, 0.1, 0.2]} and grid["seeds"] == 4
    assert submit(seeds=4, axes={"training.weight_decay": [0, 0.1, 0.2]})["trials"]["new"] == 0
    same = api.post(f"{one}/extend", json={"seeds": [3]}).json()
    assert same["trials"] == {"total": 12, "new": 0, "reused": 12}


def test_extending_along_a_setting_that_did_not_vary_keeps_its_value_first(api, submit):
    one = f"{ROOT}/{submit(axes={}, seeds=1)['id']}"
    grown = api.post(f"{one}/extend", json={"axes": {"network.depth": [3], "training.learning_rate": [0.1]}}).json()
    assert grown["trials"] == {"total": 4, "new": 3, "reused": 1}
    seen = api.get(one).json()
    assert seen["grid"]["axes"] == {"network.depth": [2, 3], "training.learning_rate": [0.02, 0.1]}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"steps": 20}, "trials of this experiment have 20 steps: give more"),
        ({"steps": 0}, "steps"),
        ({"steps": 30.5}, "steps"),
        ({"steps": True}, "steps"),
        ({"steps": "30"}, "steps"),
        ({"seeds": True}, "seeds"),
        ({"steps": 2_000_000_000}, "steps"),
        ({"steps": 100_000_000}, "training.steps"),
        ({"steps": 30, "axes": {"training.steps": [40]}}, "is given under steps as well"),
        ({"axes": {"network.dept": [3]}}, "network.depth"),
        ({"axes": {"training.weight_decay": [-1]}}, "training.weight_decay"),
        ({"axes": {"training.weight_decay": []}}, "at least one value"),
        ({"axes": {"network": [{"depth": 3}]}}, "network"),
        ({"seeds": 10_000}, "2000"),
        ({"seeds": -1}, "seeds"),
        ({"sedes": 3}, "sedes"),
    ],
)
def test_a_wrong_extension_changes_nothing_and_says_what_is_wrong(api, submit, body, told):
    one = f"{ROOT}/{submit()['id']}"
    before = api.get(one).json()
    answer = api.post(f"{one}/extend", json=body)
    assert answer.status_code == 422 and told in answer.text
    assert api.get(one).json() == before


def test_deleting_keeps_trials_that_another_experiment_holds(api, submit):
    first, second = submit(), submit(seeds=1)
    trials = api.get(f"{ROOT}/{first['id']}/trials").json()["items"]
    assert api.delete(f"{ROOT}/{first['id']}").status_code == 204
    assert api.get(f"{ROOT}/{first['id']}").status_code == 404
    left = {trial["id"] for trial in api.get(f"{ROOT}/{second['id']}/trials").json()["items"]}
    for trial in trials:
        assert api.get(f"/api/v1/trials/{trial['id']}").status_code == (200 if trial["id"] in left else 404)


def test_every_preset_is_listed_and_can_be_previewed(api):
    items = api.get("/api/v1/presets").json()["items"]
    assert [one["name"] for one in items] == [one.name for one in list_presets()]
    for one in items:
        preset = api.get(f"/api/v1/presets/{one['name']}").json()
        seen = api.post(f"{ROOT}/preview", content=json.dumps(preset["grid"]))
        assert seen.status_code == 200, seen.text
        assert seen.json()["trials"] == one["trials"] and seen.json()["ignored"] == []


def test_thinning_takes_a_number_of_steps_and_tells_what_it_left(api, submit):
    one = f"{ROOT}/{submit()['id']}"
    for body in ({}, {"keep_every": 1}, {"keep_every": "x"}, {"keep_every": 2, "every": 2}):
        assert api.post(f"{one}/thin", json=body).status_code == 422
    done = api.post(f"{one}/thin", json={"keep_every": 2})
    assert done.status_code == 200
    assert done.json() == {"thinned": 0, "unfinished": 6, "shared": 0, "unfit": 0, "rows": 0}


def test_a_preview_tells_which_axes_change_together(api, tiny_grid):
    grid = tiny_grid(
        axes={"training.weight_decay": [0, 0.1], "network": [{"depth": 2, "width": 4}, {"depth": 3, "width": 8}]},
        zip=[{"training.learning_rate": [0.01, 0.02, 0.02], "training.steps": [5, 5, 6]}],
        seeds=1,
    )
    found = api.post("/api/v1/experiments/preview", json=grid).json()
    assert found["trials"] == 12
    assert found["together"] == [
        {"paths": ["network.depth", "network.width"], "values": 2},
        {"paths": ["training.learning_rate", "training.steps"], "values": 3},
    ]
    assert api.post("/api/v1/experiments/preview", json=tiny_grid(seeds=1)).json()["together"] == []
