"""Ranges marked in a figure become filters, and points lead to their trials; read from the picture's own data."""

import pytest
from playwright.sync_api import Page, expect
from scenes import marks

from service.client import Client

DECAY, DEPTH = "training.weight_decay", "network.depth"
GRID = {
    "name": "figures of trials",
    "trial": {
        "data": {"samples": 30, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"width": 6},
        "training": {"steps": 300, "learning_rate": 0.02},
        "measure": {"points": 12},
    },
    "axes": {DECAY: [0, 0.05, 0.1], DEPTH: [2, 3]},
    "seeds": 2,
}


@pytest.fixture(scope="module")
def sweep(service: str) -> str:
    """An ended experiment of twelve trials."""
    with Client(service) as client:
        return client.wait(client.submit(GRID).id).id


def _open(page: Page, sweep: str, **chosen: str) -> None:
    page.goto(f"/experiments/{sweep}?" + "&".join(f"{name}={value}" for name, value in chosen.items()))
    page.locator("#figure[data-drawn]").wait_for()
    page.evaluate("document.getElementById('figure').scrollIntoView()")


def _drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=6)
    page.mouse.up()


def _points(page: Page) -> list[tuple[float, float, dict]]:
    return [(x, y, row) for x, y, row, _, role in marks(page, "symbol") if role == "mark"]


def _finals(page: Page, sweep: str, metric: str) -> dict[tuple[float, int, int], float]:
    with Client(page.url.partition("/experiments")[0]) as client:
        rows = client.results(sweep, group_by=[DECAY, DEPTH, "seed"], metric=[metric], agg=["median"]).to_dicts()
    return {(row[DECAY], row[DEPTH], row["seed"]): row[f"{metric}_median"] for row in rows}


def test_a_range_marked_in_a_scatter_keeps_the_trials_in_it(page: Page, sweep: str) -> None:
    _open(page, sweep, figure="scatter", x="final.train_loss")
    points = sorted(_points(page), key=lambda one: one[1])
    assert len(points) == 12
    best = points[:4]
    left, right = min(x for x, *_ in best) - 6, max(x for x, *_ in best) + 6
    inside = [row for x, y, row in points if left <= x <= right and y <= best[-1][1] + 3]
    top = page.locator("#figure canvas").bounding_box()
    assert top
    _drag(page, (left, best[-1][1] + 3), (right, best[0][1] - 4))
    page.get_by_role("button", name="Only where final.train_loss >=").click()
    page.wait_for_url("**where=final.train_loss**")
    page.locator("#figure[data-drawn]").wait_for()
    assert sorted(row["y"] for *_, row in _points(page)) == sorted(row["y"] for row in inside)


def test_a_range_marked_in_a_distribution_is_one_of_its_values(page: Page, sweep: str) -> None:
    _open(page, sweep, figure="distribution", facet="none", color=DEPTH)
    points = sorted((one for one in _points(page) if "y" in one[2]), key=lambda one: one[1])
    assert len(points) == 12
    x, y, _ = points[5]
    _drag(page, (x - 20, points[0][1] - 4), (x - 20, y + 2))
    page.get_by_role("button", name="Only where final.alignment[1] >=").click()
    page.wait_for_url("**where=final.alignment**")
    page.locator("#figure[data-drawn]").wait_for()
    kept = sorted((row["y"] for *_, row in _points(page) if "y" in row), reverse=True)
    assert kept[:6] == [row["y"] for *_, row in points[:6]] and len(kept) <= 7
    values = sorted(_finals(page, sweep, "alignment").values(), reverse=True)
    assert kept == pytest.approx(values[: len(kept)], rel=1e-6)


def test_a_range_marked_on_an_upright_axis_is_one_of_that_setting(page: Page, sweep: str) -> None:
    _open(page, sweep, figure="parallel")
    at = [(x, y, row) for x, y, row in _points(page) if row["axis"] == "weight decay λ"]
    x = at[0][0]
    upper = sorted({y for _, y, row in at if row["place"] >= 0.5})
    _drag(page, (x - 8, upper[0] - 5), (x + 8, upper[-1] + 5))
    page.get_by_role("button", name=f"Only where {DECAY} >=").click()
    page.wait_for_url("**where=**")
    page.locator("#figure[data-drawn]").wait_for()
    shown = {row["here"] for *_, row in _points(page) if row["axis"] == "weight decay λ"}
    assert shown == {"0.05", "0.1"}
    expect(page.locator("#results tbody tr")).to_have_count(4)


@pytest.mark.parametrize("figure", ["scatter", "difference"])
def test_a_point_says_what_it_is_and_leads_to_its_trial(page: Page, sweep: str, figure: str) -> None:
    _open(page, sweep, figure=figure, facet="none", color=DEPTH)
    x, y, row = next(one for one in _points(page) if one[2].get("y") is not None)
    settings = {name.removeprefix("s"): value for name, value in row.items() if name[1:].isdecimal()}
    page.mouse.move(x + 1, y)
    told = page.locator("#told")
    expect(told).to_contain_text("weight decay λ")
    page.mouse.click(x, y)
    page.wait_for_url("**trials_where=**")
    expect(page.locator("#trials tbody tr")).to_have_count(1)
    cells = page.locator("#trials tbody td").all_inner_texts()
    assert set(settings.values()) <= set(cells)


def test_panels_in_rows_and_columns_share_their_axes(page: Page, sweep: str) -> None:
    _open(page, sweep, figure="multiples")
    panels = {(row["row"], row["column"]) for *_, row in _points(page)}
    assert len(panels) == 6 and ("weight decay λ = 0", "depth L = 3") in panels
    box, card = page.locator("#figure canvas").bounding_box(), page.locator("#figure").bounding_box()
    assert box and card and box["width"] <= card["width"]
