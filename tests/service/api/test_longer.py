"""Training longer over REST: what goes on from kept states, what begins at the beginning, and what is refused."""

import pytest
from typer.testing import CliRunner

from service.cli.main import app

ROOT = "/api/v1/experiments"
KEPT = {"training": {"steps": 32, "keep": "state"}, "measure": {"every": 16}}


@pytest.fixture
def grid(tiny_grid):
    def make(**more):
        trial = tiny_grid()["trial"]
        for section, settings in {**KEPT, **more}.items():
            trial[section] = {**(trial[section] if section != "measure" else {}), **settings}
        return tiny_grid(trial=trial)

    return make


def _submit(api, document):
    answer = api.post(ROOT, json=document)
    assert answer.status_code == 201, answer.text
    return f"{ROOT}/{answer.json()['id']}"


def test_extending_by_steps_trains_what_is_left_and_says_so(api, grid, train_queue):
    one = _submit(api, grid())
    train_queue()
    grown = api.post(f"{one}/extend", json={"steps": 64})
    assert grown.status_code == 200, grown.text
    assert grown.json()["trials"] == {"total": 12, "new": 6, "reused": 6}
    assert (grown.json()["continued"], grown.json()["from_zero"]) == (6, {})
    train_queue()
    assert api.get(one).json()["grid"]["axes"]["training.steps"] == [32, 64]
    longer = [
        trial for trial in api.get(f"{one}/trials").json()["items"] if trial["settings"]["training"]["steps"] == 64
    ]
    shorter = {trial["id"]: trial for trial in api.get(f"{one}/trials").json()["items"]}
    assert len(longer) == 6 and all(trial["state"] == "completed" for trial in longer)
    for trial in longer:
        lineage = trial["provenance"]["continued_from"]
        before = shorter[lineage["trial"]]
        assert (before["seed"], before["fingerprint"], 32) == (trial["seed"], lineage["fingerprint"], lineage["step"])
        assert trial["provenance"]["from_step"] == 32
    series = api.get(f"/api/v1/trials/{longer[0]['id']}/measurements?metrics=train_loss").json()
    assert series["step"] == [0, 16, 32, 48, 64]
    again = api.post(f"{one}/extend", json={"steps": 96, "seeds": 4}).json()
    assert again["trials"] == {"total": 24, "new": 12, "reused": 12}
    assert again["continued"] == 6 + 2 * 2


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"training": {"steps": 32}}, "kept no state"),
        ({"training": {**KEPT["training"], "learning_rate": 1e6}}, "the shorter trials diverged"),
        ({"training": {**KEPT["training"], "schedule": "cosine"}}, "starts over"),
        ({"training": {**KEPT["training"], "schedule": "step"}}, "starts over"),
        ({"training": {**KEPT["training"], "schedule": "warmup"}}, "starts over"),
        ({"measure": {"points": 5}}, "not measured at the same steps"),
    ],
)
def test_what_cannot_go_on_trains_from_zero_and_is_counted_with_the_reason(api, grid, train_queue, more, why):
    one = _submit(api, grid(**more))
    train_queue()
    grown = api.post(f"{one}/extend", json={"steps": 64}).json()
    assert grown["continued"] == 0 and list(grown["from_zero"].values()) == [6]
    assert why in next(iter(grown["from_zero"]))
    train_queue()
    provenances = [trial["provenance"] for trial in api.get(f"{one}/trials").json()["items"]]
    assert all(found["from_step"] == -1 and "continued_from" not in found for found in provenances)


def test_a_preview_says_what_would_go_on(api, grid, train_queue):
    document = grid()
    del document["trial"]["training"]["steps"]
    axis = {"training.steps": [32, 64, 96]}
    found = api.post(f"{ROOT}/preview", json={**document, "axes": axis}).json()
    assert (found["new"], found["continued"], found["from_zero"]) == (9, 6, {})
    document["trial"]["training"]["schedule"] = "cosine"
    found = api.post(f"{ROOT}/preview", json={**document, "axes": axis}).json()
    assert found["continued"] == 0 and list(found["from_zero"].values()) == [6]
    _submit(api, grid())
    train_queue()
    alone = grid(training={"steps": 48})
    alone["axes"] = {"training.weight_decay": [0, 0.3]}
    assert api.post(f"{ROOT}/preview", json=alone).json()["continued"] == 3


def test_flow_and_zipped_lengths_are_refused_with_what_to_do(api, grid, tiny_grid):
    flow = tiny_grid()["trial"] | {"training": {"optimizer": "gradient_flow", "horizon": 0.1}}
    one = _submit(api, tiny_grid(trial=flow))
    for steps in (9000, 100):
        refused = api.post(f"{one}/extend", json={"steps": steps})
        assert refused.status_code == 422 and "training.horizon" in refused.text
    zipped = tiny_grid(axes={}, zip=[{"training.steps": [10, 20], "network.width": [4, 5]}])
    refused = api.post(f"{_submit(api, zipped)}/extend", json={"steps": 64})
    assert refused.status_code == 422 and "zip group" in refused.text


def test_a_misspelt_word_of_an_extension_is_answered_with_the_one_that_was_meant(api, grid):
    one = _submit(api, grid())
    refused = api.post(f"{one}/extend", json={"step": 64})
    assert refused.status_code == 422 and "unknown key step; did you mean steps?" in refused.json()["detail"]
    assert "seeds" in refused.json()["errors"][0]["allowed"]


def test_a_wrong_word_for_what_to_keep_is_refused(api, grid):
    refused = api.post(ROOT, json=grid(training={"keep": "weights"}))
    assert refused.status_code == 422 and "training.keep" in refused.text and "state" in refused.text


def test_the_page_extends_by_steps(api, grid):
    one = _submit(api, grid())
    page = one.removeprefix("/api/v1")
    assert 'name="steps"' in api.get(page).text
    api.post(f"{page}/extend", data={"steps": "64"})
    assert api.get(one).json()["counts"]["queued"] == 12
    assert api.post(f"{page}/extend", data={"steps": "many"}).status_code == 422


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_the_command_extends_by_steps_and_says_what_goes_on(api, grid, port):
    _submit(api, grid())
    _submit(api, grid(training={"steps": 32, "schedule": "cosine"}))
    url = ["--url", f"http://127.0.0.1:{port}"]
    done = CliRunner().invoke(app, ["extend", "e1", "--steps", "64", *url])
    assert done.exit_code == 0 and "e1: 12 trials, 6 new, 6 kept" in done.output, done.output
    assert "6 go on from where shorter trials end" in done.output
    other = CliRunner().invoke(app, ["extend", "e2", "--steps", "64", *url])
    assert "6 longer ones train from zero: a schedule" in " ".join(other.output.split())
    refused = CliRunner().invoke(app, ["extend", "e1", "--steps", "10", *url])
    assert refused.exit_code != 0
    assert api.get(f"{ROOT}/e1").json()["counts"]["queued"] == 12
