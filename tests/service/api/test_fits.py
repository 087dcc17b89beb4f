"""What an experiment has found, asked through REST, client and page; and what its searches may come to."""

import math

import pytest

from service.grid.fitting import Limits
from service.store import rounds
from service.web import kept

ROOT = "/api/v1/experiments"
SEARCH = {
    "axes": {"training.weight_decay": [0.01, 1.0]},
    "refine": {"axis": "training.weight_decay", "where": "training.weight_decay < 0.3", "tolerance": 0.05},
}


@pytest.fixture
def search(store, train_queue):
    """Trains and plans until nothing is added."""

    def run():
        train_queue()
        while rounds.add_rounds(store, Limits()):
            train_queue()

    return run


def test_a_search_is_previewed_run_and_told(api, submit, search, tiny_grid):
    preview = api.post(f"{ROOT}/preview", json=tiny_grid(**SEARCH, seeds=2)).json()
    assert (preview["trials"], preview["search"]) == (4, {"rounds": 30, "at_most": 2_000})
    made = submit(**SEARCH, seeds=2)["id"]
    fits = api.get(f"{ROOT}/{made}/fits").json()
    assert (fits["searching"], fits["rounds"], fits["boundaries"][0]["brackets"]) == (True, 0, [])
    search()
    assert api.get(f"{ROOT}/{made}").json()["state"] == "completed"
    answer = api.get(f"{ROOT}/{made}/fits")
    (boundary,) = answer.json()["boundaries"]
    (bracket,) = boundary["brackets"]
    assert bracket["low"] < 0.3 <= bracket["high"] <= bracket["low"] / 0.95 and bracket["holds_below"]
    assert (boundary["is_found"], boundary["is_monotone"], boundary["statement"]) == (
        *(True, True),
        "training.weight_decay < 0.3",
    )
    told = api.get(f"{ROOT}/{made}/rounds").json()["items"]
    assert [one["number"] for one in told] == list(range(1, answer.json()["rounds"] + 1))
    assert sum(one["added"]["refine"] for one in told) == sum(len(p["seeds"]) for one in told for p in one["additions"])
    assert api.get(f"{ROOT}/{made}/fits", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    page = api.get(f"/experiments/{made}").text
    assert 'id="found"' in page and "rounds were added" in page


def test_seeds_until_and_slopes_are_told_with_intervals(api, submit, search):
    slope = {"kind": "log_log_slope", "x": "training.learning_rate", "by": [], "between": [-10, 10]}
    made = submit(
        axes={"training.learning_rate": [0.001, 0.002, 0.004]},
        seeds={"until": {"metric": "train_loss", "ci95": 0.5}, "at_most": 6},
        claims=[{"id": "slope", "metric": "train_loss", "fit": slope, "gate": "none"}],
    )["id"]
    search()
    fits = api.get(f"{ROOT}/{made}/fits").json()
    assert len(fits["estimates"]) == 3 and not fits["searching"]
    for one in fits["estimates"]:
        assert one["low"] <= one["estimate"] <= one["high"] and 5 <= one["seeds"] <= 6
    (fit,) = fits["fits"]
    assert fit["low"] < fit["value"] < fit["high"] and fit["points"] >= 15


def test_an_experiment_that_asks_for_nothing_has_found_nothing(api, submit):
    made = submit()["id"]
    told = api.get(f"{ROOT}/{made}/fits").json()
    assert told == {"searching": False, "rounds": 0, "stopped": {}, "boundaries": [], "estimates": [], "fits": []}
    assert api.get(f"{ROOT}/{made}/rounds").json()["items"] == []
    assert 'id="found"' not in api.get(f"/experiments/{made}").text
    assert api.get(f"{ROOT}/e99/fits").status_code == api.get(f"{ROOT}/e99/rounds").status_code == 404


def test_a_search_that_cannot_be_is_refused_when_it_is_submitted(api, tiny_grid):
    grid = tiny_grid(axes={"training.weight_decay": [0.1]}, refine=SEARCH["refine"])
    for path in (ROOT, f"{ROOT}/preview"):
        refused = api.post(path, json=grid)
        assert refused.status_code == 422 and refused.json()["errors"][0]["path"] == "refine.axis"


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_what_was_found_is_drawn_as_marks_and_in_a_plane_as_cells(api, submit, search):
    line = submit(**SEARCH, seeds=1)["id"]
    plane = submit(
        axes={"training.weight_decay": [0.1, 1.0], "init.scale": [0.1, 1.0]},
        refine={
            "axis": ["training.weight_decay", "init.scale"],
            "where": "training.weight_decay < 0.3 and init.scale < 0.5",
            "tolerance": 0.3,
        },
        seeds=1,
    )["id"]
    search()
    answer = api.get(f"/experiments/{line}/figure.json", params={"figure": "boundary"})
    assert answer.status_code == 200, answer.text
    (mark,) = answer.json()["data"]["values"]
    assert mark["low"] < 0.3 <= mark["high"] and mark["statement"] == "training.weight_decay < 0.3"
    drawn = api.get(f"/experiments/{plane}/figure.json", params={"figure": "boundary"}).json()["data"]["values"]
    cells = [one for one in drawn if "right" in one]
    places = [one for one in drawn if "verdict" in one]
    (told,) = api.get(f"/api/v1/experiments/{plane}/fits").json()["boundaries"]
    assert len(cells) == len(told["cells"]) > 1 and len(places) == told["tried"] == len(told["seen"])
    assert {(one["x"] < 0.3 and one["y"] < 0.5) for one in places if one["verdict"] == "holds"} == {True}
    none = api.get(f"/experiments/{submit()['id']}/figure.json", params={"figure": "boundary"})
    assert "no boundary" in none.text


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_power_laws_are_drawn_with_their_points_lines_and_bands(api, submit, search):
    slope = {"kind": "log_log_slope", "x": "training.learning_rate", "by": ["network.depth"], "between": [-10, 10]}
    made = submit(
        axes={"network.depth": [3, 2], "training.learning_rate": [0.001, 0.002, 0.004]},
        claims=[{"id": "slope", "metric": "train_loss", "fit": slope, "gate": "none"}],
    )["id"]
    search()
    laws = api.get(f"{ROOT}/{made}/fits").json()["fits"]
    assert [law["group"]["network.depth"] for law in laws] == [2, 3]
    spec = api.get(f"/experiments/{made}/figure.json", params={"figure": "fit"}).json()
    drawn = spec["data"]["values"]
    assert {one["color"] for one in drawn} == {"2", "3"}
    for law in laws:
        assert (law["x"], law["metric"], law["transform"]) == ("training.learning_rate", "train_loss", "x")
        depth = str(law["group"]["network.depth"])
        mine = [one for one in drawn if one["color"] == depth]
        assert sorted((one["x"], one["y"]) for one in mine if "y" in one) == sorted(map(tuple, law["seen"]))
        first, *_, last = (one for one in mine if "line" in one)
        assert math.log(last["line"] / first["line"]) / math.log(last["x"] / first["x"]) == pytest.approx(law["value"])
        assert all(one["least"] <= one["line"] <= one["most"] for one in (first, last))
    for form in ("svg", "png"):
        assert api.get(f"/experiments/{made}/figure.{form}", params={"figure": "fit"}).status_code == 200
    none = api.get(f"/experiments/{submit()['id']}/figure.json", params={"figure": "fit"})
    assert "no power law" in none.text


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_what_is_tried_now_and_what_comes_next_are_told(api, submit, store, train_queue, monkeypatch):
    # while more may come a page keeps an answer for a little while, as long as the machine is slow
    monkeypatch.setattr(kept, "_SECONDS", 0.0)
    made = submit(**SEARCH, seeds=1)["id"]

    def told():
        (one,) = api.get(f"{ROOT}/{made}/fits").json()["boundaries"]
        return one

    assert (told()["next"], told()["tried"], told()["undefined"]) == ([0.01, 1.0], 0, [])
    assert "are tried first" in api.get(f"/experiments/{made}").text
    train_queue()
    (coming,) = told()["next"]
    assert 0.01 < coming < 1.0
    page = api.get(f"/experiments/{made}").text
    assert f"still wide: next {coming:g}" in page
    assert rounds.add_rounds(store, Limits()) == 1
    assert "turned in brackets still wide" in api.get(f"/experiments/{made}").text
    # the same while it is tried: it is no value at which nothing could be told
    assert (told()["next"], told()["undefined"]) == ([coming], [])
    api.post(f"{ROOT}/{made}/cancel")
    assert told()["next"] == []
