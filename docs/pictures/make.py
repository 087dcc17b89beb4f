"""`make pictures`: the figure and the screenshot of README, from a real run of the weight-decay preset."""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from service.cli.demo import draw
from service.cli.local_service import running
from service.client import Client

HERE = Path(__file__).parent


def main() -> None:
    """Run the preset, draw it, open its page."""
    with (
        tempfile.TemporaryDirectory() as home,
        running(Path(home), "127.0.0.1", 0, print) as service,
        Client(service.url) as client,
        sync_playwright() as playwright,
    ):
        experiment = client.wait(client.submit_preset("weight-decay").id).id
        draw(client, experiment, HERE)
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(f"{service.url}/experiments/{experiment}")
        page.locator("#figure[data-drawn]").wait_for(timeout=60_000)
        page.screenshot(path=HERE / "experiment.png")
        browser.close()
    for picture in sorted(HERE.glob("*.png")):
        print(f"{picture.name}: {picture.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
