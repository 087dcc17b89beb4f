"""The results table answers the hand, and its address says how."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from contexts import context_of
from playwright.sync_api import Browser, Page, Route, expect

from service.client import Client

GRID = {
    "name": "results",
    "trial": {
        "data": {"samples": 30, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"width": 6},
        "training": {"steps": 300, "learning_rate": 0.02},
        "measure": {"points": 12},
    },
    "axes": {"training.weight_decay": [0.1, 0], "network.depth": [2, 3, 4]},
    "seeds": 2,
}


@pytest.fixture(scope="module")
def sweep(service: str) -> str:
    """An ended experiment with six rows of results."""
    with Client(service) as client:
        return client.wait(client.submit(GRID).id).id


def _cells(page: Page, title: str) -> list[str]:
    """What stands in a column, from the top down."""
    return page.locator(f"#results td[data-label={title!r}]").all_inner_texts()


def _drawn(page: Page) -> None:
    page.locator("#figure[data-drawn]").wait_for()


def test_a_table_sorts_hides_shades_and_changes_its_question_while_the_figure_stays(
    page: Page, sweep: str, service: str
) -> None:
    page.goto(f"/experiments/{sweep}")
    _drawn(page)
    page.evaluate("document.getElementById('figure').view.seen = true")
    head = page.locator("#results").get_by_role("link", name="mean")
    head.click()
    expect(page.locator("#results th[aria-sort=ascending]")).to_have_text("mean")
    means = [float(text) for text in _cells(page, "mean")]
    assert len(means) == 6 and means == sorted(means)
    expect(head).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#results th[aria-sort=descending]")).to_have_text("mean")
    assert [float(text) for text in _cells(page, "mean")] == means[::-1]

    page.get_by_label("Shade").check()
    expect(page.locator("#results td.shade-7[data-label=mean]").first).to_have_text(f"{means[-1]:.6g}")
    page.get_by_text("Columns …").click()
    page.get_by_role("group", name="Hide").get_by_label("depth").check()
    expect(page.locator("#results th", has_text="depth")).to_have_count(0)
    page.get_by_role("group", name="Over trials").get_by_label("median").check()
    expect(page.locator("#results th", has_text="median")).to_have_count(1)

    page.locator("#results").get_by_label("Metric").select_option("train_loss")
    expect(page.locator("#result-table")).to_contain_text("Final train_loss")
    expect(page.locator("#results th[aria-sort=descending]")).to_have_text("mean")
    page.locator("#results").get_by_label("Sort").select_option("-median")
    expect(page.locator("#results th[aria-sort=descending]")).to_have_text("median")
    with Client(service) as client:
        rows = client.results(sweep, metric=["train_loss"], agg=["median"])["train_loss_median"].to_list()
    assert _cells(page, "median") == [f"{value:.6g}" for value in sorted(rows, reverse=True)]
    assert page.evaluate("document.getElementById('figure').view.seen")

    asked = parse_qs(urlsplit(page.url).query)
    assert (asked["order"], asked["hide"], asked["shade"]) == (["-median"], ["network.depth"], ["true"])
    before = _cells(page, "median")
    other = page.context.new_page()
    other.goto(page.url)
    assert _cells(other, "median") == before
    # what the table shows is taken along when the figure is drawn anew
    other.locator("select[name=metric]").select_option("residual")
    other.wait_for_url("**metric=residual**")
    assert _cells(other, "median") == before
    page.go_back()
    expect(page.locator("#results th[aria-sort=descending]")).to_have_text("mean")


def test_a_table_that_is_still_being_counted_comes_without_a_reload(page: Page, sweep: str) -> None:
    def uncounted(text: str) -> str:
        section = r'(id="results" data-live=")("[^>]*>).*?(</section>)'
        return re.sub(section, r"\1poll\2<p>Being counted</p>\3", text, flags=re.S)

    stages = [uncounted]

    def answer(route: Route) -> None:
        change = stages.pop() if stages else str
        route.fulfill(body=change(route.fetch().text()), content_type="text/html")

    page.route("**/experiments/*order=-mean*", answer)
    page.goto(f"/experiments/{sweep}")
    _drawn(page)
    page.evaluate("document.getElementById('figure').view.seen = true")
    page.locator("#results").get_by_label("Sort").select_option("-mean")
    expect(page.locator("#results th[aria-sort=descending]")).to_have_text("mean")
    assert stages == [] and page.evaluate("document.getElementById('figure').view.seen")


def test_a_table_is_narrowed_without_javascript_by_the_same_form(browser: Browser, service: str, sweep: str) -> None:
    context = context_of(browser, service, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/experiments/{sweep}")
    page.get_by_text("Columns …").click()
    page.get_by_role("group", name="Hide").get_by_label("depth").check()
    page.locator("#results").get_by_role("button", name="Apply").click()
    expect(page.locator("#results th", has_text="depth")).to_have_count(0)
    expect(page.locator("#results tbody td[data-label=mean]")).to_have_count(6)
    context.close()
