"""The editor of the submit page: it completes, underlines what is wrong, and tells what a grid costs."""

from collections.abc import Iterator

import pytest
from contexts import context_of
from playwright.sync_api import Browser, Page, expect
from scenes import write_grid

from service.client import Client

GRID = """\
name: edited
trial:
  network: {width: 6}
  training: {steps: 100}
axes:
  training.weight_decay: [0, 0.1]
  network.depth: [2, 3, 4]
seeds: 2
"""
WRONG = GRID.replace("width: 6", "width: 0").replace("[2, 3, 4]", "[2, x, 4]")


def _open(page: Page, address: str = "/submit") -> None:
    page.goto(address)
    page.locator("#editor .cm-content").wait_for()


def _text(page: Page) -> str:
    return page.locator("#grid").input_value()


@pytest.fixture
def writing(browser: Browser, service: str) -> Iterator[Page]:
    """A page on which grids are wrong for a while: a refused preview is an error in its console, nothing else is."""
    context = context_of(browser, service)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "422" not in message.text else None)
    yield page
    context.close()
    assert wrong == []


def test_a_key_a_setting_and_a_word_are_completed_from_the_schema(writing: Page) -> None:
    page = writing
    _open(page)
    write_grid(page, "axes: {}\ntrial:\n  training: {steps: 10}\n  netw")
    option = page.locator("#editor .cm-completionLabel")
    page.keyboard.press("Control+Space")
    expect(option).to_have_text(["network"])
    option.click()
    page.keyboard.type("{activ")
    expect(option).to_have_text(["activation"])
    expect(page.locator("#editor .cm-completionInfo")).to_be_visible()
    option.click()
    page.keyboard.type("tan")
    expect(option).to_have_text(["tanh"])
    option.click()
    assert _text(page).endswith("network: {activation: tanh}")


def test_what_is_wrong_is_underlined_where_it_stands(writing: Page) -> None:
    page = writing
    _open(page)
    write_grid(page, WRONG)
    wrong = page.locator("#editor .cm-lintRange-error")
    expect(wrong).to_have_text(["0", "x"])
    wrong.last.hover()
    expect(page.locator("#editor .cm-tooltip-lint")).to_contain_text("axes.network.depth[1]")
    expect(page.locator("#axes")).to_be_hidden()
    write_grid(page, "axes:\n  network.depth: [2\nseeds: 2\n")
    expect(page.locator("#cost")).to_contain_text("line 3")
    expect(page.locator("#editor .cm-gutter-lint .cm-lint-marker-error")).to_have_count(1)


def test_the_cost_and_each_axis_are_told_while_a_grid_is_written(page: Page, service: str) -> None:
    _open(page)
    write_grid(page, GRID)
    expect(page.locator("#cost")).to_contain_text("12 trials, 12 new")
    rows = page.locator("#axes tbody tr")
    expect(rows).to_have_count(3)
    told = [row.split("\t")[:3] for row in rows.all_inner_texts()]
    assert told == [["training.weight_decay", "2", "6"], ["network.depth", "3", "4"], ["seeds", "2", "6"]]
    with Client(service) as client:
        one = client.wait(client.submit(GRID.encode()).id)
    # what moves together is one axis
    write_grid(
        page,
        GRID.replace("axes:", "zip:\n- training.learning_rate: [0.01, 0.02, 0.02]\n  training.steps: [9, 9, 8]\naxes:"),
    )
    expect(page.locator("#cost")).to_contain_text("36 trials")
    told = [row.split("\t")[:3] for row in rows.all_inner_texts()]
    assert told[2:] == [["training.learning_rate, training.steps", "3", "12"], ["seeds", "2", "18"]]
    # an experiment and a trial are opened as grids that say the same
    _open(page, f"/experiments/{one.id}".replace("experiments/", "submit?experiment="))
    expect(page.locator("#cost")).to_contain_text("12 trials, 0 new")
    page.goto(f"/experiments/{one.id}")
    page.locator("#trials tbody a").first.click()
    page.get_by_role("link", name="Open as a grid").click()
    expect(page.locator("#cost")).to_contain_text("1 trial, 0 new")
