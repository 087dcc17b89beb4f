"""POST /experiments/{id}/measure, the client's and the command line's words for it, and its part of the page."""

import pytest
from nfa_command import nfa

from service.client import Client

TRIAL = {
    "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
    "network": {"depth": 2, "width": 4},
    "training": {"steps": 10},
    "measure": {"points": 3, "weights": [0, 10]},
}
GRID = {"name": "kept", "trial": TRIAL, "seeds": 2}


@pytest.fixture
def measure_queue(store):
    from training_here import measure_everything

    return lambda: measure_everything(store)


@pytest.fixture
def experiment(api, train_queue):
    one = api.post("/api/v1/experiments", json=GRID).json()["id"]
    train_queue()
    return one


@pytest.fixture(scope="module")
def shared_experiment(shared_api, shared_store):
    """One that is trained once, for those who only ask."""
    from training_here import train_everything

    one = shared_api.post("/api/v1/experiments", json=GRID).json()["id"]
    train_everything(shared_store)
    return one


def test_new_metrics_are_queued_measured_and_answered(api, experiment, measure_queue):
    asked = {"metrics": ["pearson"], "layers": "all", "at": "final"}
    answer = api.post(f"/api/v1/experiments/{experiment}/measure", json=asked)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["id"], body["metrics"], body["trials"], body["counts"]["queued"]) == ("m1", ["pearson"], 2, 2)
    assert body["definitions"] == {"pearson": 1}
    results = f"/api/v1/experiments/{experiment}/results?metric=pearson&layer=2&agg=count"
    before = api.get(results)
    assert before.json()["items"][0]["pearson_count"] == 0
    measure_queue()
    after = api.get(results, headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.json()["items"][0]["pearson_count"]) == (200, 2)
    [listed] = api.get(f"/api/v1/experiments/{experiment}/measure").json()["items"]
    assert listed["counts"] == {"queued": 0, "running": 0, "completed": 2, "failed": 0, "cancelled": 0}
    again = api.post(f"/api/v1/experiments/{experiment}/measure", json=asked).json()
    assert (again["id"], again["left_out"]["already"]) == (None, {"count": 2, "trials": ["t1", "t2"]})
    trial = api.get("/api/v1/trials/t1").json()
    assert trial["definitions"]["pearson"] == 1 and set(trial["layers"]) == {"1", "2"}
    assert "pearson[2]" in trial["final"]
    assert api.get(f"/api/v1/experiments/{experiment}").json()["state"] == "completed"


def test_trials_without_kept_weights_are_listed(api, train_queue):
    bare = {**GRID, "trial": {**TRIAL, "measure": {"points": 3}}}
    one = api.post("/api/v1/experiments", json=bare).json()["id"]
    unfinished = api.post(f"/api/v1/experiments/{one}/measure", json={"metrics": ["pearson"]}).json()
    assert (unfinished["id"], unfinished["left_out"]["unfinished"]["trials"]) == (None, ["t1", "t2"])
    train_queue()
    found = api.post(f"/api/v1/experiments/{one}/measure", json={"metrics": ["pearson"], "at": [10]}).json()
    assert (found["trials"], found["left_out"]["without_weights"]) == (0, {"count": 2, "trials": ["t1", "t2"]})


@pytest.mark.parametrize(
    ("body", "path", "told"),
    [
        ({}, "metrics", "name at least one metric"),
        ({"metrics": ["pearsn"]}, "metrics[0]", "did you mean pearson?"),
        ({"metrics": ["pearson"], "at": "last"}, "at", "must be all, final, or a list of 1 to 64 steps"),
        ({"metrics": ["pearson"], "at": []}, "at", "must be all, final, or a list"),
        ({"metrics": "pearson"}, "metrics", "must be default, all, or a list of ids"),
        ({"metrics": ["pearson"], "at": [3]}, "at", "kept are those of steps 0, 10"),
        ({"metrics": ["pearson"], "at": [-1]}, "at[0]", "greater than or equal to 0"),
        ({"metrics": ["pearson"], "layers": [3]}, "layers", "layers 1 to 2"),
        ({"metrics": ["pearson"], "layers": "last"}, "layers", "must be first, all, or a list"),
        ({"exponents": [-1]}, "exponents[0]", "greater than 0"),
        ({"metric": ["pearson"]}, "metric", "did you mean metrics?"),
        ([], "metrics", "the body must be a mapping of metrics, layers"),
        ("pearson", "metrics", "the body must be a mapping"),
        ({"metrics": ["pearson"], "inputs": ["validation"]}, "inputs[0]", "train, test, {dataset"),
        ({"metrics": ["pearson"], "inputs": [{"probes": 0}]}, "inputs[0]", "a whole number from 1"),
        ({"metrics": ["pearson"], "inputs": []}, "inputs", "at least 1"),
        ({"metrics": ["gram_norm"], "inputs": ["test"]}, "metrics", "gram_norm does not depend on inputs"),
        ({"metrics": ["pearson"], "inputs": [{"dataset": "0" * 64}]}, "inputs", "no dataset"),
        ({"metrics": ["pearson"], "inputs": ["test"]}, "inputs", "no test set"),
    ],
)
def test_what_is_wrong_is_refused_with_what_is_allowed(shared_api, shared_experiment, body, path, told):
    answer = shared_api.post(f"/api/v1/experiments/{shared_experiment}/measure", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert told in problem["detail"]
    assert problem["errors"][0]["path"] == path


def test_an_experiment_that_is_not_there_is_not_found(api):
    assert api.post("/api/v1/experiments/e9/measure", json={"metrics": ["pearson"]}).status_code == 404
    assert api.get("/api/v1/experiments/e9/measure").status_code == 404


def test_the_client_and_the_command_line_ask_and_wait(port, experiment, measure_queue):
    address = f"http://127.0.0.1:{port}"
    with Client(address) as client:
        done = client.measure(experiment, "pearson", layers=[2], at="final")
        assert (done.trials, done.left_out["already"].count) == (2, 0)
        with pytest.raises(TimeoutError, match="are still measured"):
            client.wait_measured(experiment, timeout_seconds=0.0)
        measure_queue()
        assert [one.counts["completed"] for one in client.wait_measured(experiment)] == [2]
        assert client.measurements("t1", ["pearson"], layer=2)["pearson"].null_count() == 2
        assert client.results(experiment, metric="pearson", layer=2, agg=["count"])["pearson_count"].to_list() == [2]
    told = nfa("measure", experiment, "--metric", "gram_norm,alignment@0.3", "--layers", "all", "--url", address)
    assert told.returncode == 0 and "m2: gram_norm, alignment@0.3 of 2 trials" in told.stdout
    measure_queue()
    repeated = nfa("measure", experiment, "--metric", "gram_norm,alignment@0.3", "--layers", "all", "--url", address)
    assert "2 trials were measured so" in repeated.stdout + repeated.stderr
    assert "nothing to measure" in repeated.stdout
    for at in ("last", "1.5", ""):
        wrong = nfa("measure", experiment, "--metric", "pearson", "--at", at, "--url", address)
        assert wrong.returncode == 2 and "write all, final, or steps as 0,1000" in wrong.stderr
    wrong = nfa("measure", experiment, "--metric", "pearsn", "--url", address)
    assert wrong.returncode == 2 and "pearson" in wrong.stderr


def test_the_page_has_a_form_that_measures_and_says_what_was_measured(api, experiment, measure_queue):
    assert f"{experiment}/measure" in api.get(f"/experiments/{experiment}").text
    form = {"metrics": "pearson, gram_norm", "layers": "1, 2", "at": "0, 10"}
    answer = api.post(f"/experiments/{experiment}/measure", data=form, follow_redirects=False)
    assert answer.status_code == 303
    measure_queue()
    page = api.get(f"/experiments/{experiment}").text
    assert "Measured again" in page and "pearson, gram_norm" in page
    wrong = api.post(f"/experiments/{experiment}/measure", data={"metrics": "pearsn"})
    assert wrong.status_code == 422 and "did you mean pearson?" in wrong.text


def test_other_inputs_are_measured_again_and_asked_for_in_every_question(api, port, train_queue, measure_queue):
    trial = {
        **TRIAL,
        "network": {"depth": 2, "width": 4, "activation": "tanh"},
        "data": {**TRIAL["data"], "test_samples": 6},
        "measure": {**TRIAL["measure"], "inputs": ["test"]},
    }
    one = api.post("/api/v1/experiments", json={**GRID, "trial": trial}).json()["id"]
    train_queue()
    upload = api.post(
        "/api/v1/datasets?name=inputs",
        content=b"x1,x2,x3,x4,y\n1,2,3,4,0\n4,3,2,1,1\n",
        headers={"content-type": "text/csv"},
    ).json()
    body = {"metrics": ["alignment"], "inputs": [{"probes": 8, "seed": 1}, {"dataset": upload["id"]}], "at": "final"}
    asked = api.post(f"/api/v1/experiments/{one}/measure", json=body).json()
    wanted = [f"alignment/data-{upload['id']}", "alignment/probes-8-1-1"]
    assert (asked["metrics"], asked["inputs"]) == (wanted, [name.partition("/")[2] for name in wanted])
    kept = api.delete(f"/api/v1/datasets/{upload['id']}")
    assert kept.status_code == 409 and f"kept weights of {one} wait to be measured on" in kept.json()["detail"]
    measure_queue()
    command = nfa("results", one, "--inputs", "test", "--url", f"http://127.0.0.1:{port}")
    assert command.returncode == 0 and "alignment/test" in command.stdout, command.stderr
    with Client(f"http://127.0.0.1:{port}") as client:
        means = {}
        for inputs in ("train", "test", *asked["inputs"]):
            [row] = client.results(one, inputs=inputs, agg=["mean", "count"], group_by=["data.kind"]).to_dicts()
            name = "alignment" if inputs == "train" else f"alignment/{inputs}"
            assert row[f"{name}_count"] == 2
            means[inputs] = row[f"{name}_mean"]
        assert len(set(means.values())) == 4
        curve = client.curves(one, "alignment", inputs="test", group_by=["data.kind"])
        assert curve["alignment/test_count"].to_list() == [2, 2, 2]
        assert "alignment/test" in client.sweep(one).columns
        assert client.measurements("t1", ["alignment/test"], layer=1)["alignment/test"].null_count() == 0
        where = "final.alignment/probes-8-1-1[1] > 0 and final.alignment/test > 0"
        assert len(list(client.trials(one, where=where))) == 2
        claim = {"id": "c", "metric": "alignment/test", "every_trial": ">= 0", "gate": "none"}
        assert [verdict.trials for verdict in client.add_claims(one, [claim])] == [2]
    assert api.delete(f"/api/v1/datasets/{upload['id']}").status_code == 204
    page = api.get(f"/experiments/{one}?metric=alignment/test").text
    assert ">alignment/probes-8-1-1<" in page
    assert api.get(f"/experiments/{one}/figure.svg?metric=alignment/test").status_code == 200


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("metric=alignment&inputs=validation", "allowed are train, test"),
        ("metric=gram_norm&inputs=test", "gram_norm is not measured on other inputs"),
        ("metric=gram_norm/test", "unknown metric gram_norm/test"),
        ("metric=alignment/probes-0-0-1", "unknown metric"),
    ],
)
def test_questions_about_inputs_that_are_none_are_refused(shared_api, shared_experiment, query, told):
    answer = shared_api.get(f"/api/v1/experiments/{shared_experiment}/results?{query}")
    assert answer.status_code == 422 and told in answer.json()["detail"]
