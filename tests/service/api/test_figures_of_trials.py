"""Figures of trials one by one: what is drawn is what the API answers, and what cannot be drawn says why."""

import statistics
from typing import Any

import pytest

DECAY, DEPTH = "training.weight_decay", "network.depth"
AXES = {DECAY: [0, 0.05, 0.1], DEPTH: [2, 3]}


GRID = {
    "name": "trials",
    "trial": {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"width": 4},
        "training": {"steps": 20},
        "measure": {"points": 5},
    },
    "axes": AXES,
    "seeds": 2,
}


@pytest.fixture(scope="module")
def api(shared_api, shared_store):
    """The API of a store with one ended sweep of 12 trials."""
    from training_here import train_everything

    answer = shared_api.post("/api/v1/experiments", json=GRID)
    assert answer.status_code == 201, answer.text
    train_everything(shared_store)
    return shared_api


@pytest.fixture
def drawn(api):
    """The figure of the sweep, by its choices."""

    def ask(figure: str, **chosen: Any) -> dict[str, Any]:
        answer = api.get("/experiments/e1/figure.json", params={"figure": figure} | chosen)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


def _finals(api, metric, where=""):
    asked = {"group_by": f"{DECAY},{DEPTH},seed", "metric": metric, "agg": "median", "where": where}
    rows = api.get("/api/v1/experiments/e1/results", params=asked).json()["items"]
    return {(row[DECAY], row[DEPTH], row["seed"]): row[f"{metric}_median"] for row in rows}


def _rounded(values):
    return sorted(float(f"{value:.7g}") for value in values)


def test_every_kind_answers_the_page_print_and_its_links(api, drawn):
    for figure in ("scatter", "distribution", "difference", "parallel", "multiples"):
        spec = drawn(figure, facet=f"{DEPTH},{DECAY}" if figure == "multiples" else "", room=900)
        where = spec["usermeta"]["nfa"]["where"]
        assert where and all(DEPTH in one for one in where.values()), figure
        assert api.get("/experiments/e1", params={"figure": figure}).status_code == 200
        assert api.get(f"/experiments/e1/figure.svg?figure={figure}").content.startswith(b"<svg"), figure


def test_a_scatter_draws_any_final_value_against_any_other_trial_by_trial(api, drawn):
    spec = drawn("scatter", x="final.train_loss", y="final.alignment[1]", where="seed < 1")
    losses, second = _finals(api, "train_loss", "seed < 1"), _finals(api, "alignment", "seed < 1")
    points = spec["data"]["values"]
    assert sorted((one["x"], one["y"]) for one in points) == sorted(
        (float(f"{losses[key]:.7g}"), float(f"{second[key]:.7g}")) for key in losses
    )
    assert spec["encoding"]["x"]["scale"]["type"] == "log" and "type" not in spec["encoding"]["y"]["scale"]
    assert "6 of 6" in spec["title"]["subtitle"]
    brush = spec["usermeta"]["nfa"]["brush"]
    assert (brush["x"]["path"], brush["y"]["path"]) == ("final.train_loss", "final.alignment[1]")


def test_a_distribution_has_a_box_for_every_group_and_a_point_for_every_trial(api, drawn):
    spec, finals = drawn("distribution", y="final.train_loss"), _finals(api, "train_loss")
    rows = spec["data"]["values"]
    boxes, points = ([row for row in rows if name in row] for name in ("median", "y"))
    assert len(boxes) == 6 and {box["count"] for box in boxes} == {2}
    assert _rounded(point["y"] for point in points) == _rounded(finals.values())
    groups = [[finals[decay, depth, seed] for seed in (0, 1)] for decay in AXES[DECAY] for depth in AXES[DEPTH]]
    assert _rounded(box["median"] for box in boxes) == pytest.approx(_rounded(map(statistics.median, groups)), rel=1e-6)
    assert "2 seeds" in spec["title"]["subtitle"]


def test_a_distribution_that_pools_says_over_what(drawn):
    spec = drawn("distribution", x=DECAY, facet="none", color="seed")
    assert "4 trials: 2 seeds x 2 settings; pooled over depth" in str(spec["title"]["subtitle"])
    assert len([row for row in spec["data"]["values"] if "median" in row]) == 3


@pytest.mark.parametrize(("metric", "is_ratio"), [("alignment", False), ("train_loss", True)])
@pytest.mark.parametrize("baseline", ["", "0.05"])
def test_a_difference_pairs_each_trial_with_its_own_seed_at_the_baseline(api, drawn, metric, is_ratio, baseline):
    spec, finals = drawn("difference", metric=metric, baseline=baseline), _finals(api, metric)
    base = float(baseline or 0)
    expected = [
        value / finals[base, depth, seed] if is_ratio else value - finals[base, depth, seed]
        for (decay, depth, seed), value in finals.items()
        if decay != base
    ]
    points = [row["y"] for row in spec["data"]["values"] if "y" in row]
    assert len(points) == 8 and _rounded(points) == pytest.approx(_rounded(expected), rel=1e-5)
    assert f"at training.weight_decay = {base:g}" in str(spec["title"]["subtitle"])


def test_parallel_coordinates_end_in_the_median_of_every_group(api, drawn):
    spec, finals = drawn("parallel"), _finals(api, "alignment")
    rows = next(one["data"]["values"] for one in spec["layer"] if "value" in str(one.get("data", {}).get("values", "")))
    groups = [[finals[decay, depth, seed] for seed in (0, 1)] for decay in AXES[DECAY] for depth in AXES[DEPTH]]
    ends = [row for row in rows if row["axis"] == "alignment, layer 1"]
    assert sorted(row["value"] for row in ends) == pytest.approx(sorted(map(statistics.median, groups)))
    assert sorted({row["place"] for row in rows if row["axis"] == "weight decay λ"}) == [0.0, 0.5, 1.0]
    assert min(row["place"] for row in ends) == 0.0 and max(row["place"] for row in ends) == 1.0


def test_multiples_have_a_row_and_a_column_of_panels_for_two_settings(drawn):
    spec = drawn("multiples", facet=f"{DECAY},{DEPTH}")
    assert spec["facet"]["row"]["sort"] == ["weight decay λ = 0", "weight decay λ = 0.05", "weight decay λ = 0.1"]
    assert spec["facet"]["column"]["sort"] == ["depth L = 2", "depth L = 3"]
    # left open, two axes are rows and columns, and seeds the colour
    assert drawn("multiples")["facet"] == spec["facet"] and len({row["color"] for row in spec["data"]["values"]}) == 2


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"figure": "difference", "baseline": "7"}, "one of 0, 0.05, 0.1"),
        ({"figure": "difference", "x": "network.width"}, "fewer than two values of network.width"),
        ({"figure": "distribution", "y": DEPTH}, "a final value along y"),
        ({"figure": "scatter", "y": "final.test_loss"}, "no completed trial"),
    ],
)
def test_what_cannot_be_drawn_says_what_would_be(drawn, chosen, why):
    assert why in drawn(**chosen)["nothing"]


def test_an_axis_that_nothing_is_called_is_refused_by_name(api, drawn):
    for wrong in ("network.dept", "final.alignmen", "state", f"{DEPTH},{DECAY}"):
        refused = api.get("/experiments/e1/figure.json", params={"figure": "scatter", "x": wrong})
        assert refused.status_code == 422 and "x" in refused.text
