"""Claims that are added to an experiment after it was submitted."""

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
    assert api.post(path, json={"claims": []}).status_code == 422
    assert api.post(f"{ROOT}/e99/claims", json={"claims": [CLAIM]}).status_code == 404
    assert [one["id"] for one in api.get(f"{ROOT}/{made}/verdicts").json()["items"]] == ["late"]
