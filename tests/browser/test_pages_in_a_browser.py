"""The web page in a real Chromium against a real service: submit, watch, read, filter, download, cancel, share."""

import csv
import io
import re
from pathlib import Path
from typing import Literal

import pytest
from axe_core_python.sync_playwright import Axe
from contexts import context_of
from playwright.sync_api import Browser, Page, Route, expect
from scenes import type_grid, write_grid

from service.client import Client

GRID = """\
name: seen <script>document.title="x"</script>
trial:
  data: {samples: 40, inputs: 5, outputs: 2, spectrum: [2, 1]}
  network: {depth: 2, width: 6}
  training: {steps: 3000, learning_rate: 0.02}
  measure: {points: 20}
axes:
  training.weight_decay: [0, 0.1]
seeds: 3
claims:
  - {id: restored, says: decay restores it, where: training.weight_decay > 0, metric: alignment, every_trial: ">= 0.99"}
"""
LONG = GRID.replace("steps: 3000", "steps: 9000000").replace("seen <script>", "long <script>")
SWEEP_MS = 300_000


@pytest.fixture(scope="module")
def sweep(service: str) -> str:
    """An ended experiment, of the trials that the first test has watched."""
    with Client(service) as client:
        return client.wait(client.submit(GRID.encode()).id).id


@pytest.fixture(scope="module")
def addresses(service: str, sweep: str) -> tuple[str, ...]:
    """Every kind of page there is."""
    with Client(service) as client:
        other = client.submit(LONG.replace("long", "another").encode()).id
        client.cancel(other)
        trial = next(iter(client.trials(sweep))).id
    kinds = ("/", f"/experiments/{sweep}", f"/trials/{trial}", "/submit", "/cluster", "/definitions", "/login")
    return (*kinds, f"/compare?experiments={sweep},{other}", f"/bulk?action=tag&experiments={sweep}")


def _submit(page: Page, grid: str) -> str:
    """Submit a grid through the page; answers the experiment's id."""
    page.goto("/submit")
    page.locator("#editor").wait_for()
    write_grid(page, grid)
    expect(page.locator("#cost")).to_contain_text("6 trials")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/experiments/*")
    return page.url.rpartition("/")[2]


def test_a_grid_is_submitted_watched_to_its_end_read_filtered_and_downloaded(page: Page, service: str) -> None:
    experiment = _submit(page, GRID)
    expect(page.locator("h1")).to_have_text('seen <script>document.title="x"</script>')
    # without a reload: the page follows the experiment by itself
    expect(page.locator("#progress")).to_contain_text("completed", timeout=SWEEP_MS)
    expect(page.locator("#verdicts")).to_contain_text("holds")
    expect(page.locator("#figure canvas")).to_be_visible()

    page.get_by_label("Where", exact=True).fill("training.weight_decay > 0 and seed < 2")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#trials tbody tr")).to_have_count(2)
    shared = page.url
    other = page.context.new_page()
    other.goto(shared)
    expect(other.locator("#trials tbody tr")).to_have_count(2)
    assert other.get_by_label("Where", exact=True).input_value() == "training.weight_decay > 0 and seed < 2"

    page.get_by_label("Where", exact=True).fill("training.weight_deca > 0")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert")).to_contain_text("training.weight_decay")

    with page.expect_download() as download:
        page.locator("#results").get_by_role("link", name="CSV").first.click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    with Client(service) as client:
        wanted = client.results(experiment, agg=["mean", "count"])
    assert [float(row["alignment_mean"]) for row in rows] == wanted["alignment_mean"].to_list()

    page.goto(f"/experiments/{experiment}")
    page.locator("#trials tbody a").first.click()
    expect(page.locator("main")).to_contain_text("completed")


def test_verdicts_that_the_last_refresh_finds_unjudged_come_without_a_reload(page: Page, sweep: str) -> None:
    def running(text: str) -> str:
        return text.replace('data-live=""', 'data-live="events"', 1).replace(">holds<", ">open<")

    def unjudged(text: str) -> str:
        return re.sub(r'(id="verdicts" data-live=").*?</section>', r'\1poll">Being judged</section>', text, flags=re.S)

    stages = [running, unjudged]

    def answer(route: Route) -> None:
        change = stages.pop(0) if stages else str
        route.fulfill(body=change(route.fetch().text()), content_type="text/html")

    page.route(f"**/experiments/{sweep}", answer)
    page.route(
        "**/events", lambda route: route.fulfill(body="event: end\ndata: {}\n\n", content_type="text/event-stream")
    )
    page.goto(f"/experiments/{sweep}")
    # no event comes after the end
    expect(page.locator("#verdicts")).to_contain_text("holds")
    assert stages == []


def test_ten_tabs_on_a_running_experiment_all_load_and_follow_it(browser: Browser, service: str) -> None:
    with Client(service) as client:
        experiment = client.submit(LONG.replace("long", "in ten tabs").encode()).id
        context = context_of(browser, service)
        tabs = [context.new_page() for _ in range(10)]
        for tab in tabs:
            # a browser keeps six connections to a host: a seventh stream would leave none
            tab.goto(f"/experiments/{experiment}", timeout=30_000)
            expect(tab.locator("#progress")).to_contain_text("6")
        tabs[-1].get_by_role("link", name="Cluster").click(timeout=30_000)
        tabs[-1].wait_for_url("**/cluster", timeout=30_000)
        client.cancel(experiment)
        for tab in tabs[:-1]:
            expect(tab.locator("#progress")).to_contain_text("cancelled", timeout=30_000)
        context.close()


def test_a_running_experiment_is_cancelled_after_a_question(page: Page) -> None:
    _submit(page, LONG)
    page.get_by_text("Cancel …").click()
    page.get_by_role("button", name="Yes, cancel").click()
    expect(page.locator("#progress")).to_contain_text("cancelled")


def test_pages_fit_a_phone_and_every_field_has_a_label(
    browser: Browser, service: str, addresses: tuple[str, ...]
) -> None:
    context = context_of(browser, service, viewport={"width": 390, "height": 844})
    page = context.new_page()
    for address in addresses:
        page.goto(address)
        if address == "/submit":
            page.locator("#axes:not([hidden])").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, address
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select, textarea:not([hidden])')]"
            ".filter(e => !e.labels.length && !e.ariaLabel).map(e => e.name)"
        )
        assert unnamed == [], address
        assert page.locator("h1").count() == 1 and page.title(), address
    context.close()


def test_what_is_printed_has_its_tables_and_no_buttons(page: Page, sweep: str) -> None:
    page.goto(f"/experiments/{sweep}")
    page.locator("#figure[data-drawn]").wait_for()
    page.emulate_media(media="print")
    expect(page.locator("#trials tbody tr").first).to_be_visible()
    expect(page.locator("#results tbody tr").first).to_be_visible()
    for hidden in ("button", "select", "input:not([type=hidden])", "nav[aria-label=Main]"):
        expect(page.locator(hidden).locator("visible=true")).to_have_count(0)
    page.goto("/")
    expect(page.locator("#list tbody tr").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(
    browser: Browser, service: str, addresses: tuple[str, ...], sweep: str, scheme: Literal["light", "dark"]
) -> None:
    context = context_of(browser, service, color_scheme=scheme)
    page = context.new_page()
    wrong, asking = f"/experiments/{sweep}?trials_where=bogus+%3D+1", f"/bulk?action=delete&experiments={sweep}"
    for address in (*addresses, wrong, asking, "/nothing/here"):
        page.goto(address)
        for drawn in ("#figure[data-drawn]", "#axes:not([hidden])"):
            if page.locator(drawn.partition("[")[0].partition(":")[0]).count():
                page.locator(drawn).wait_for()
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        found = Axe().run(page)["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], address
    context.close()


def test_an_experiment_is_submitted_and_cancelled_by_keyboard_alone(page: Page) -> None:
    grid = LONG.replace("long", "by keyboard")
    page.goto("/submit")
    _tab_to(page, "editor")
    type_grid(page, grid)
    expect(page.locator("#grid")).to_have_value(grid)
    _tab_to(page, "Submit")
    page.keyboard.press("Enter")
    page.wait_for_url("**/experiments/*")
    _tab_to(page, "Cancel …")
    page.keyboard.press("Enter")
    _tab_to(page, "Yes, cancel")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_contain_text("cancelled")


def _tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the element with this id or text has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = "w => [document.activeElement.id, document.activeElement.textContent].includes(w)"
        if page.evaluate(focused, wanted):
            return
    raise AssertionError(f"Tab does not reach {wanted!r}")


def test_everything_but_drawing_works_without_javascript(browser: Browser, service: str, sweep: str) -> None:
    context = context_of(browser, service, java_script_enabled=False)
    page = context.new_page()
    page.goto("/submit")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#cost")).to_contain_text("9 trials")
    page.goto(f"/experiments/{sweep}")
    expect(page.locator("#figure img")).to_be_visible()
    expect(page.locator("#results tbody tr")).to_have_count(2)
    context.close()
