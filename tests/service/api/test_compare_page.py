"""Experiments side by side on a page."""

import html
import re

import pytest


@pytest.fixture
def pair(submit, train_queue):
    """Two trained sweeps: they share an axis, and differ in the width and in the rule."""
    first = submit(axes={"training.weight_decay": [0.1, 0]}, name="plain")["id"]
    trial = {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 2, "width": 6},
        "training": {"steps": 20, "optimizer": "adam"},
        "measure": {"points": 5},
    }
    axes = {"training.weight_decay": [0.1, 0], "training.learning_rate": [0.01, 0.02]}
    second = submit(trial=trial, axes=axes, name="with <adam>")["id"]
    train_queue()
    return first, second


def cells(page, table):
    """Rows of a table as texts."""
    body = page[page.index(table) :]
    body = body[body.index("<tbody>") : body.index("</tbody>")]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    return [
        [html.unescape(re.sub(r"<[^>]+>", "", one)) for one in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in rows
    ]


def test_experiments_stand_side_by_side_with_the_settings_in_which_they_differ(api, pair):
    page = api.get("/compare", params={"experiments": ",".join(pair)})
    assert page.status_code == 200 and "<adam>" not in page.text
    differing = {row[0]: row[1:] for row in cells(page.text, 'id="differing"')}
    assert differing["network.width"] == ["4", "6"] and differing["training.optimizer"] == ["gd", "adam"]
    assert "training.weight_decay" not in differing and "data.samples" not in differing
    rows = cells(page.text, 'aria-label="Results"')
    # the first has one learning rate, which the second has too
    assert [row[:2] for row in rows] == [["0", "0.01"], ["0", "0.02"], ["0.1", "0.01"], ["0.1", "0.02"]]
    assert [row[2] == "–" for row in rows] == [True, False, True, False] and "–" not in [row[3] for row in rows]
    wanted = api.get(f"/api/v1/experiments/{pair[0]}/results").json()["items"][0]
    assert float(rows[1][2].split()[0]) == pytest.approx(wanted["alignment_mean"], rel=1e-5) and rows[1][2].endswith(
        "(3)"
    )


def test_a_figure_of_several_experiments_has_a_colour_for_each_and_pools_within_each(api, pair):
    asked = {"experiments": list(pair), "facet": "none", "dash": "none"}
    spec = api.get("/compare/figure.json", params=asked).json()
    rows = next(iter(spec["datasets"].values())) if "datasets" in spec else spec["data"]["values"]
    assert {row["color"] for row in rows} == set(pair)
    told = "6 to 12 trials: 3 seeds x 2 to 4 settings; pooled over weight_decay, learning_rate"
    assert told in str(spec["title"]["subtitle"])
    assert api.get("/compare/figure.svg", params=asked).content.startswith(b"<svg")
    apart = api.get("/compare/figure.json", params={"experiments": list(pair)}).json()
    assert "pooled" not in str(apart["title"]["subtitle"])


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [("", 422, "2 to 8"), ("experiments=e1", 422, "2 to 8"), ("experiments=e1,e999", 404, "e999")],
)
def test_a_comparison_that_cannot_be_made_says_why(api, submit, query, status, told):
    submit()
    page = api.get(f"/compare?{query}")
    assert page.status_code == status and told in page.text


def test_experiments_are_ticked_in_the_list(api, pair):
    page = api.get("/").text
    assert 'action="./compare"' in page and page.count('name="experiments"') == 2
