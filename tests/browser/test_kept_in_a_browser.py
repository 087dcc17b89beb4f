"""What people keep is written on the page: stars, notes, tags, views; and found again."""

import pytest
from playwright.sync_api import Page, expect

from service.client import Client

GRID = {
    "name": "kept",
    "trial": {"network": {"width": 6}, "training": {"steps": 300}, "measure": {"points": 12}},
    "axes": {"training.weight_decay": [0, 0.1]},
    "seeds": 2,
}


@pytest.fixture(scope="module")
def sweep(service: str) -> str:
    """An ended experiment."""
    with Client(service) as client:
        return client.wait(client.submit(GRID).id).id


def test_a_star_notes_and_tags_are_written_on_the_page_and_searched(page: Page, sweep: str) -> None:
    page.goto(f"/experiments/{sweep}?figure=imbalance")
    page.get_by_role("button", name="Star").click()
    expect(page.get_by_role("button", name="Starred")).to_be_visible()
    assert "figure=imbalance" in page.url
    page.get_by_text("Name, tags, notes …").click()
    page.get_by_label("Notes, as Markdown").fill("Found a *plateau* <b>here</b>.")
    page.get_by_label("Tags, after commas").fill("plateaus, draft")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".notes em")).to_have_text("plateau")
    expect(page.locator(".notes")).to_contain_text("<b>here</b>")
    page.goto("/")
    page.get_by_label("Name, notes or tag contain").fill("PLATEAUS")
    page.get_by_label("★ only").check()
    page.get_by_role("button", name="Filter").click()
    rows = page.locator("#list tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.first.get_by_role("img", name="Starred")).to_be_visible()
    expect(rows.first.get_by_role("link", name="draft")).to_be_visible()


def test_a_view_keeps_figure_filter_and_table_and_is_deleted(page: Page, sweep: str, service: str) -> None:
    page.goto(f"/experiments/{sweep}?figure=distribution&where=seed+%3C+1")
    # what lies below it stays where it is from then on
    page.locator("#figure[data-drawn]").wait_for()
    page.locator("#results").get_by_role("link", name="mean").click()
    page.locator("#results th[aria-sort=ascending]").wait_for()
    page.get_by_text("Saved views").click()
    page.get_by_label("What is shown now, as").fill("one seed, sorted")
    page.get_by_role("button", name="Save view").click()
    page.get_by_text("Saved views (1)").wait_for()
    page.goto(f"/experiments/{sweep}")
    page.get_by_text("Saved views (1)").click()
    page.get_by_role("link", name="one seed, sorted").click()
    page.wait_for_url("**figure=distribution**")
    page.locator("#figure[data-drawn]").wait_for()
    rows = page.evaluate("document.getElementById('figure').view.scenegraph().root.items.length")
    assert rows == 1
    expect(page.locator("#results th[aria-sort=ascending]")).to_have_text("mean")
    assert page.locator("#h-figure ~ form input[name=where]").input_value() == "seed < 1"
    page.get_by_text("Saved views (1)").click()
    page.get_by_role("button", name="Delete the view one seed, sorted").click()
    expect(page.get_by_text("Saved views …")).to_be_visible()
    with Client(service) as client:
        assert client.views(sweep) == []


def test_what_is_ticked_is_tagged_and_deleted_after_a_question(page: Page, service: str) -> None:
    with Client(service) as client:
        ids = [client.submit(GRID | {"name": f"bulk {n}"}).id for n in range(2)]
    page.goto("/?q=bulk")
    for number in range(2):
        page.get_by_label(f"Tick bulk {number}").check()
    page.get_by_role("button", name="Tag …").click()
    page.get_by_label("Tag", exact=True).fill("doomed")
    page.get_by_role("button", name="Yes, tag").click()
    page.goto("/?tag=doomed")
    expect(page.locator("#list tbody tr")).to_have_count(2)
    page.get_by_label("Tick bulk 1").check()
    page.get_by_role("button", name="Delete …").click()
    expect(page.get_by_role("heading", name="Delete 1 experiment?")).to_be_visible()
    page.get_by_role("button", name="Yes, delete").click()
    page.goto("/?tag=doomed")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    page.goto(f"/experiments/{ids[0]}")
    page.locator("#trials").get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Open what is ticked as a grid").click()
    expect(page.locator("#cost")).to_contain_text("1 trial, 0 new")
