"""Figures answer the hand: what is seen is read from the picture's own data."""

from typing import Any, Literal

import pytest
from contexts import context_of
from playwright.sync_api import Browser, Page, expect
from scenes import marks

from service.client import Client

AXES = {"training.weight_decay": [0.1, 0], "network.depth": [2, 3]}
GRID = {
    "name": "figures",
    "trial": {
        "data": {"samples": 30, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"width": 6},
        "training": {"steps": 300, "learning_rate": 0.02},
        "measure": {"points": 12},
    },
    "seeds": 2,
}
VIEW = "document.getElementById('figure').view"


@pytest.fixture(scope="module")
def sweeps(service: str) -> dict[str, str]:
    """Ended experiments with one axis and with two."""
    with Client(service) as client:
        made = {"one": AXES.copy(), "two": AXES.copy()}
        made["one"].pop("network.depth")
        ids = {name: client.submit(GRID | {"axes": axes}).id for name, axes in made.items()}
        return {name: client.wait(one).id for name, one in ids.items()}


def _open(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#figure[data-drawn]").wait_for()


def _marks(page: Page, kind: str, role: str = "mark") -> list[Any]:
    return [one for one in marks(page, kind) if one[4] == role]


def _domain(page: Page, scale: str) -> list[float]:
    return page.evaluate(f"{VIEW}.scale({scale!r}).domain()")


def test_a_figure_fills_its_card_and_its_range_is_that_of_the_data(page: Page, sweeps: dict[str, str]) -> None:
    _open(page, f"/experiments/{sweeps['one']}")
    card, drawn = page.locator("#figure").bounding_box(), page.locator("#figure canvas").bounding_box()
    assert card and drawn and 0.85 * card["width"] < drawn["width"] <= card["width"]
    lows = [mark[2]["low"] for mark in _marks(page, "symbol")]
    assert 0 < _domain(page, "y")[0] <= min(lows) < _domain(page, "y")[0] + 0.1
    page.get_by_label("from 0").check()
    assert _domain(page, "y")[0] == 0
    page.get_by_role("button", name="Reset view").click()
    page.wait_for_function(f"() => {VIEW}.scale('y').domain()[0] > 0")


def test_what_is_under_the_pointer_says_its_group_step_value_count_and_band(page: Page, sweeps: dict[str, str]) -> None:
    _open(page, f"/experiments/{sweeps['two']}")
    x, y, row, *_ = next(mark for mark in _marks(page, "symbol") if mark[2]["step"] > 10)
    page.mouse.move(x + 1, y + 1)
    told = page.locator("#told")
    expect(told).to_be_visible()
    with Client(page.url.partition("/experiments")[0]) as client:
        curves = client.curves(sweeps["two"], where=f"training.weight_decay == {row['color']}").to_dicts()
    same = [one for one in curves if one["step"] == row["step"] and row["facet"] == f"depth L = {one['network.depth']}"]
    assert len(same) == 1 and same[0]["alignment_count"] == 2
    for part in ("median", "min", "max"):
        expect(told).to_contain_text(f"{same[0][f'alignment_{part}']:.6g}")
    for text in (f"weight decay λ{row['color']}", f"panel{row['facet']}", f"step{row['step']}", "trials2"):
        expect(told).to_contain_text(text)
    ring = page.locator("#ring").bounding_box()
    assert ring
    assert abs(ring["x"] + ring["width"] / 2 - x) < 2 and abs(ring["y"] + ring["height"] / 2 - y) < 2
    page.locator("h1").hover()
    expect(page.locator("#ring")).to_be_hidden()
    expect(told).to_be_hidden()


def test_dragging_moves_shift_and_wheel_zoom_and_a_double_click_resets(page: Page, sweeps: dict[str, str]) -> None:
    _open(page, f"/experiments/{sweeps['one']}")
    whole = _domain(page, "x")
    box = page.locator("#figure canvas").bounding_box()
    assert box
    x, y = box["x"] + 420, box["y"] + 90
    page.mouse.move(x, y)
    page.mouse.wheel(0, -200)
    assert _domain(page, "x") == whole
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Shift")
    page.wait_for_function(f"() => {VIEW}.scale('x').domain()[0] > 1.05")
    zoomed = _domain(page, "x")
    assert zoomed[1] / zoomed[0] < whole[1] / whole[0]
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=4)
    page.mouse.up()
    page.wait_for_function(f"() => {VIEW}.scale('x').domain()[0] < {zoomed[0]}")
    page.mouse.dblclick(x, y)
    page.wait_for_function(f"() => {VIEW}.scale('x').domain()[0] === {whole[0]}")
    assert page.url.endswith(sweeps["one"])


def test_a_legend_shows_and_hides(page: Page, sweeps: dict[str, str]) -> None:
    _open(page, f"/experiments/{sweeps['one']}")
    x, y, *_ = next(mark for mark in _marks(page, "symbol", "legend-symbol"))
    page.mouse.click(x, y)
    page.wait_for_function(f"() => {VIEW}.data('color_shown_store').length === 1")
    shown = {mark[2]["color"]: mark[3] for mark in _marks(page, "line")}
    assert shown["0"] == 1 and shown["0.1"] < 0.1
    page.mouse.click(x, y)
    page.wait_for_function(f"() => {VIEW}.data('color_shown_store').length === 0")
    assert {mark[3] for mark in _marks(page, "line")} == {1}


@pytest.mark.parametrize("figure", ["curves", "phase"])
def test_a_click_on_a_line_or_a_cell_leads_to_its_trials(page: Page, sweeps: dict[str, str], figure: str) -> None:
    _open(page, f"/experiments/{sweeps['two']}?figure={figure}&where=seed+%3C+1")
    can = {
        "phase": "A click leads to the trials behind it.",
        "curves": "Drag moves, Shift and wheel zoom; a double click resets; ",
    }
    expect(page.locator(".hint")).to_contain_text(can[figure])
    # what is pointed at lies in the window
    page.locator("#figure").evaluate("figure => figure.scrollIntoView()")
    if figure == "curves":
        x, y, row, *_ = next(mark for mark in _marks(page, "symbol") if mark[2]["step"] > 10)
        decay = row["color"]
    else:
        x, y, row, *_ = _marks(page, "text")[0]
        decay = row["x"]
    page.mouse.click(x, y)
    page.wait_for_url("**trials_where=**")
    rows = page.locator("#trials tbody tr")
    expect(rows).to_have_count(1)
    assert rows.first.locator("td").nth(3).inner_text() == decay
    assert "seed < 1" in page.get_by_label("Where", exact=True).input_value()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_figures_and_lists_whole(
    browser: Browser, service: str, sweeps: dict[str, str], scheme: Literal["light", "dark"]
) -> None:
    context = context_of(browser, service, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    for address in (f"/experiments/{sweeps['two']}", f"/experiments/{sweeps['two']}?figure=phase", "/trials/t1"):
        _open(page, address)
        inside = "(e => e.scrollWidth <= e.clientWidth)(document.getElementById('figure'))"
        assert page.evaluate(inside), address
    cut = (
        "[...document.querySelectorAll('table.cards')].filter(t => t.scrollWidth > t.parentElement.clientWidth).length"
    )
    for address in ("/", f"/experiments/{sweeps['two']}", "/trials/t1"):
        page.goto(address)
        assert page.evaluate(cut) == 0, address
    context.close()
