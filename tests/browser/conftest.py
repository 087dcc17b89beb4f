"""A real Chromium against a real service, one of each for this folder: starting both takes longer than most tests."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from installed import installed
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))
from contexts import context_of

NFA = str(Path(sys.executable).with_name("nfa"))
# how fast a page answers is the machine's business
expect.set_options(timeout=60_000)


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service with its dispatcher, in which tests find what others have left."""
    home = tmp_path_factory.mktemp("home")
    plain = {key: value for key, value in os.environ.items() if not key.startswith("NFA_")}
    process = subprocess.Popen(
        [NFA, "up", "--port", "0", "--json"],
        # sweeps that tests only look at run on one processor, not on all
        env=plain | {"NFA_HOME": str(home), "NFA_TRAINERS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    said = itertools.takewhile(lambda line: line != "}\n", process.stdout)
    yield json.loads("".join(said) + "}")["url"]
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    chromium = installed("chromium", "chromium-browser", "google-chrome", package="chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, service: str) -> Iterator[Page]:
    """A page that fails the test on an error in its console, and on a request to any other host."""
    context = context_of(browser, service, accept_downloads=True)
    opened, wrong = context.new_page(), []
    opened.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            wrong.append(request.url) if urlsplit(request.url).netloc not in (urlsplit(service).netloc, "") else None
        ),
    )
    yield opened
    context.close()
    assert wrong == []
