"""The service behind a real nginx with the block that docs/operations.md gives: TLS, a name, a path prefix."""

import re
import ssl
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from installed import installed
from nginx import Nginx, nginx
from playwright.sync_api import expect, sync_playwright

from service.client import Client
from service.store import tokens
from service.tokens import Scope

__all__ = ["nginx"]

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
STEERED = (
    *("retry", "extend", "cancel", "pause", "resume", "measure"),
    *("describe", "star", "save-view", "delete-view"),
)
"""What forms of an experiment's page post to."""
WRITTEN = """text => {
  const view = document.getElementById("editor").view;
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
}"""
"""What is filled into a field: a browser that fills an editor gives the text styles, which the policy blocks."""
GRID = "name: behind\ntrial: {training: {steps: 10}}\nseeds: 2\n"


@pytest.fixture
def secret(store):
    """A token; the first one closes the service."""
    return tokens.create_token(store, "anna", Scope.SUBMIT)


def browser_like(nginx: Nginx, root: str) -> httpx.Client:
    """Keeps cookies as a browser does, those for TLS alone included, and names the page it comes from."""
    parts = urlsplit(root)
    trusted = ssl.create_default_context(cafile=str(nginx.certificate))
    headers = {"Origin": f"{parts.scheme}://{parts.netloc}", "Accept": "text/html"}
    return httpx.Client(base_url=root + "/", headers=headers, verify=trusted, trust_env=False)


def linked(text: str) -> set[str]:
    """What a page leads to: links, files, forms, and what its script asks for."""
    found = re.findall(r'(?:href|src|action|data-spec|data-events|data-preview)="([^"#]+)', text)
    return {one.replace("&amp;", "&") for one in found}


@pytest.mark.parametrize("where", ["prefixed", "top"])
def test_signing_in_submitting_links_files_and_events_work(nginx, secret, where, train_queue):
    root: str = getattr(nginx, where)
    top = urlsplit(root).path + "/"
    with browser_like(nginx, root) as browser:
        asked = browser.get("")
        assert asked.status_code == 303 and asked.next_request is not None
        assert str(asked.next_request.url) == f"{root}/login"
        answer = browser.post("login", data={"token": secret})
        assert answer.status_code == 303, answer.text
        assert "; Secure" in answer.headers["set-cookie"] and f"Path={top};" in answer.headers["set-cookie"]
        made = browser.post("submit", data={"grid": GRID, "do": "submit"}, follow_redirects=True)
        assert str(made.url) == f"{root}/experiments/e1" and "<h1>behind</h1>" in made.text
        assert browser.post("experiments/e1/pause", follow_redirects=True).url == made.url
        assert browser.post("experiments/e1/resume").status_code == 303
        train_queue()
        seen = set()
        for page in ("", "experiments/e1", "trials/t1", "submit", "cluster", "definitions", "login", "no/such/page"):
            address = f"{root}/{page}"
            for link in sorted(linked(browser.get(address).text)):
                target = urljoin(address, link)
                assert target.startswith(f"{root}/"), (page, link)
                seen.add(target)
        posts = {f"{root}/experiments/e1/{name}" for name in STEERED}
        posts |= {f"{root}/logout", f"{root}/api/v1/experiments/preview"}
        assert len(seen) > 25
        # drawn like the first of them, each a second of work
        drawn = {target for target in seen if "/figure.p" in target}
        # forms of a list, which ask about the experiments that are ticked
        compared, steered = f"{root}/compare", f"{root}/bulk"
        assert {compared, steered} <= seen
        for target in sorted(seen - posts - drawn - {compared, steered}):
            assert browser.get(target, headers={"Accept": "*/*"}, follow_redirects=True).status_code == 200, target
        events = browser.get("api/v1/experiments/e1/events", headers={"Accept": "text/event-stream"})
        assert "event: end" in events.text
        created = browser.post("api/v1/experiments", json={"seeds": 3})
        assert created.headers["location"] == f"{top}api/v1/experiments/e2"
        assert browser.get(urljoin(root, created.headers["location"])).json()["id"] == "e2"
        assert browser.get(compared, params={"experiments": "e1,e2"}).status_code == 200
        assert browser.get(steered, params={"experiments": ["e1", "e2"], "action": "pause"}).status_code == 200


def test_the_client_finds_its_way(nginx, secret, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(nginx.certificate))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with Client(nginx.prefixed, secret, retries=0) as client:
        assert client.submit(GRID.encode()).id == "e1"
        assert [one.id for one in client.experiments()] == ["e1"]


def test_nginx_as_it_comes_is_told_its_missing_line(nginx, secret):
    with browser_like(nginx, nginx.plain) as browser:
        refused = browser.post("login", data={"token": secret})
    assert refused.status_code == 403 and "proxy_set_header Host $http_host;" in refused.json()["detail"]


def test_pages_need_no_word_of_the_prefix(nginx):
    with httpx.Client(base_url=nginx.stripped + "/", trust_env=False) as browser:
        made = browser.post("submit", data={"grid": GRID, "do": "submit"}, follow_redirects=True)
        assert str(made.url) == f"{nginx.stripped}/experiments/e1" and made.status_code == 200
        assert browser.get(urljoin(str(made.url), "../static/web/page.css")).status_code == 200
        assert browser.get("cluster/", follow_redirects=True).status_code == 200


def test_a_browser_signs_in_submits_and_watches(nginx, secret, train_queue):
    chromium = installed("chromium", "chromium-browser", "google-chrome", package="chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = opened.new_context(ignore_https_errors=True).new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{nginx.prefixed}/")
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Submit", exact=True).click()
        page.locator("#editor .cm-content").wait_for()
        page.evaluate(WRITTEN, GRID)
        expect(page.locator("#cost")).to_contain_text("2 trials")
        page.get_by_role("button", name="Submit", exact=True).click()
        page.wait_for_url(f"{nginx.prefixed}/experiments/e1")
        expect(page.locator("#progress")).to_contain_text("2 queued")
        train_queue()
        # by the events alone
        expect(page.locator("#progress")).to_contain_text("completed", timeout=20_000)
        expect(page.locator("#figure canvas")).to_be_visible(timeout=20_000)
        page.goto(f"{nginx.prefixed}/docs")
        expect(page.locator("#swagger-ui")).to_contain_text("/api/v1/experiments", timeout=20_000)
        opened.close()
        assert wrong == []
