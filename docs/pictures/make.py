"""`make pictures`: every kind of figure, README's screenshot and the tour, from real runs of presets and a grid."""

import shlex
import shutil
import tempfile
from pathlib import Path

import tour
from playwright.sync_api import sync_playwright
from shown import GALLERY, sweeps

from service.cli.local_service import running
from service.cli.main import app
from service.client import Client

HERE = Path(__file__).parent


def main() -> None:
    """Run the sweeps, draw them, open the page of one."""
    with (
        tempfile.TemporaryDirectory() as home,
        running(Path(home), "127.0.0.1", 0, print) as service,
        Client(service.url) as client,
        sync_playwright() as playwright,
    ):
        submitted = {name: client.submit(grid).id for name, grid in sweeps().items()}
        runs = {name: client.wait(one).id for name, one in submitted.items()}
        for shown in GALLERY:
            words = shlex.split(shown.command(runs[shown.sweep], f"{HERE}/"))
            app([*words[1:], "--url", service.url], standalone_mode=False)
        experiment = runs["weight-decay"]
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(f"{service.url}/experiments/{experiment}")
        page.locator("#figure[data-drawn]").wait_for(timeout=60_000)
        page.locator("#verdicts").get_by_text("holds", exact=True).first.wait_for()
        page.screenshot(path=HERE / "experiment.png")
        tour.take(page, service.url, experiment)
        browser.close()
    for picture in sorted(HERE.rglob("*.png")):
        print(f"{picture.name}: {picture.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
