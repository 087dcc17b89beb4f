"""Grids with formulas and with sampled points, over REST."""

ROOT = "/api/v1/experiments"
RATES = {"training.learning_rate": {"log_uniform": [0.01, 0.1]}}


def test_a_preview_shows_what_formulas_come_to_and_the_grid_keeps_them(api, tiny_grid, submit):
    more = {
        "trial": {"training": {"steps": "= 1 / training.learning_rate"}},
        "axes": {"training.learning_rate": [0.1, 0.2]},
    }
    shown = api.post(f"{ROOT}/preview", json=tiny_grid(**more)).json()
    assert shown["derived"] == {"training.steps": [10, 5]} and list(shown["axes"]) == ["training.learning_rate"]
    made = submit(**more)
    assert api.get(f"{ROOT}/{made['id']}").json()["grid"]["trial"] == more["trial"]
    trials = api.get(f"{ROOT}/{made['id']}/trials").json()["items"]
    assert {one["settings"]["training"]["steps"] for one in trials} == {10, 5}
    # a value that is added to the axis is worked out as well
    api.post(f"{ROOT}/{made['id']}/extend", json={"axes": {"training.learning_rate": [0.05]}})
    trials = api.get(f"{ROOT}/{made['id']}/trials").json()["items"]
    assert {one["settings"]["training"]["steps"] for one in trials} == {20, 10, 5}
    wrong = api.post(ROOT, json=tiny_grid(trial={"training": {"steps": "= 1 / rate"}}))
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["path"] == "trial.training.steps"


def test_a_sample_grows_in_place_and_results_pool_over_it(api, submit):
    made = submit(sample={"count": 4, "ranges": RATES}, axes={"network.depth": [1, 2]}, seeds=1)
    one = f"{ROOT}/{made['id']}"
    assert made["trials"] == {"total": 8, "new": 8, "reused": 0}
    grown = api.post(f"{one}/extend", json={"sample": 6}).json()
    assert grown["trials"] == {"total": 12, "new": 4, "reused": 8}
    assert api.get(one).json()["grid"]["sample"]["count"] == 6
    assert api.post(f"{one}/extend", json={"sample": 6}).status_code == 422
    groups = api.get(f"{one}/results", params={"agg": "count"}).json()["items"]
    assert [group["network.depth"] for group in groups] == [1, 2]
    assert all("training.learning_rate" not in group for group in groups)
    by_rate = api.get(f"{one}/results", params={"agg": "count", "group_by": "training.learning_rate"}).json()["items"]
    assert len(by_rate) == 6
    assert api.get(f"/experiments/{made['id']}").status_code == 200
