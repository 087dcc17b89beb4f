"""Claims that are added to an experiment after it was submitted."""

import pytest

from service.client import Client, ClientError

ROOT = "/api/v1/experiments"
CLAIM = {"id": "late", "says": "it is aligned", "metric": "alignment", "every_trial": ">= 0", "gate": "none"}


def test_a_claim_added_to_a_finished_experiment_is_judged_at_once_and_once(api, submit, train_queue):
    made = submit(claims=[CLAIM | {"id": "first"}])["id"]
    train_queue()
    before = api.get(f"{ROOT}/{made}/verdicts").headers["etag"]
    for _ in range(2):
        answer = api.post(f"{ROOT}/{made}/claims", json={"claims": [CLAIM]})
        assert answer.status_code == 200, answer.text
        assert [(one["id"], one["holds"], one["trials"]) for one in answer.json()["items"]] == [
            ("first", True, 6),
            ("late", True, 6),
        ]
    assert api.get(f"{ROOT}/{made}/verdicts", headers={"If-None-Match": before}).json() == answer.json()


def test_a_claim_that_cannot_be_judged_or_has_a_taken_id_is_refused(api, submit):
    made = submit(claims=[CLAIM])["id"]
    path = f"{ROOT}/{made}/claims"
    other = api.post(path, json={"claims": [CLAIM | {"every_trial": ">= 0.5"}]})
    assert other.status_code == 409 and "late" in other.json()["detail"]
    unmeasured = api.post(path, json={"claims": [CLAIM | {"id": "x", "metric": "pearson"}]})
    assert unmeasured.status_code == 422 and unmeasured.json()["errors"][0]["path"] == "claims[0].metric"
    unknown = api.post(path, json={"claims": [CLAIM | {"id": "x", "metric": "alignmnt"}]})
    assert unknown.status_code == 422 and unknown.json()["errors"][0]["nearest"] == "alignment"
    for refused in (unmeasured, unknown):
        assert refused.json()["code"] == "invalid_claims" and "grid" not in refused.json()["title"]
    assert api.post(path, json={"claims": []}).status_code == 422
    assert api.post(f"{ROOT}/e99/claims", json={"claims": [CLAIM]}).status_code == 404
    assert [one["id"] for one in api.get(f"{ROOT}/{made}/verdicts").json()["items"]] == ["late"]


def test_a_rate_is_fitted_to_series_of_what_was_measured_and_open_before(api, submit, train_queue):
    fit = {"kind": "rate", "against": "time", "from": 0.1, "above": 1e-9, "divide_by": "1", "between": [-1e9, 1e9]}
    claim = {"id": "rate", "says": "it decays", "metric": "imbalance", "fit": fit, "gate": "none"}
    trial = {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 2, "width": 4},
        "training": {"steps": 400, "weight_decay": 0.1},
        "measure": {"points": 9, "spacing": "linear"},
    }
    made = submit(trial=trial, axes={}, seeds=2, claims=[claim])["id"]
    assert api.get(f"{ROOT}/{made}/verdicts").json()["items"][0]["holds"] is None
    train_queue()
    judged = api.get(f"{ROOT}/{made}/verdicts").json()["items"][0]
    # gradient descent at a small rate: twice the decay
    assert judged["holds"] is True and abs(judged["worst"] / 0.2 - 1) < 0.01


def test_the_client_adds_claims(submit, port):
    made = submit()["id"]
    with Client(f"http://127.0.0.1:{port}") as client:
        assert [one.id for one in client.add_claims(made, [CLAIM])] == [CLAIM["id"]]
        with pytest.raises(ClientError, match="every_trail"):
            client.add_claims(made, [CLAIM | {"id": "b", "every_trail": ">= 0"}])
