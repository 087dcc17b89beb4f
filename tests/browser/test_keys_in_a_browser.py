"""Pages by keyboard, and a word when a sweep ends."""

import pytest
from axe_core_python.sync_playwright import Axe
from contexts import context_of
from playwright.sync_api import Browser, Page, expect

from service.client import Client

GRID = {
    "name": "keys",
    "trial": {"network": {"width": 6}, "training": {"steps": 300}, "measure": {"points": 12}},
    "axes": {"training.weight_decay": [0, 0.1]},
    "seeds": 2,
}
HEARD = """window.heard = []; window.Notification = class {
  static permission = "granted";
  static async requestPermission() { return "granted"; }
  constructor(title, more) { window.heard.push([title, more.body]); }
};"""


@pytest.fixture(scope="module")
def sweep(service: str) -> str:
    """An ended experiment."""
    with Client(service) as client:
        return client.wait(client.submit(GRID).id).id


def test_a_question_mark_lists_the_keys_and_they_lead_where_they_say(page: Page, sweep: str) -> None:
    page.goto(f"/experiments/{sweep}")
    page.locator("#figure[data-drawn]").wait_for()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(keys.locator("kbd")).to_contain_text(["?", "e", "s", "c", "/", "f", "r", "t", "0", "j", "k"])
    grave = [one["id"] for one in Axe().run(page)["violations"] if one["impact"] in ("serious", "critical")]
    assert grave == []
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    page.keyboard.press("f")
    expect(page.locator("#figure")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("input[name=where]")).to_be_focused()
    # what is written in a field is written
    page.keyboard.type("seed < 5 ?")
    expect(page.locator("input[name=where]")).to_have_value("seed < 5 ?")
    expect(keys).to_be_hidden()
    page.locator("h1").click()
    page.keyboard.press("s")
    page.wait_for_url("**/submit")
    page.locator("#editor .cm-content").click()
    page.keyboard.type("e")
    assert page.url.endswith("/submit")


def test_the_end_of_a_sweep_is_told_once_it_was_asked_for(browser: Browser, service: str) -> None:
    context = context_of(browser, service)
    context.add_init_script(HEARD)
    page = context.new_page()
    with Client(service) as client:
        experiment = client.submit(GRID | {"name": "told", "trial": {"training": {"steps": 9_000_000}}}).id
        page.goto(f"/experiments/{experiment}")
        page.get_by_role("button", name="Tell me when it ends").click()
        expect(page.get_by_role("button", name="Will tell when it ends")).to_be_visible()
        client.cancel(experiment)
    page.wait_for_function("() => window.heard.length > 0", timeout=60_000)
    assert page.evaluate("window.heard") == [["told: cancelled", "4 cancelled"]]
    context.close()
