"""`make pictures`: every kind of figure, README's screenshot and the tour, from real runs of presets and a grid."""

import shutil
import tempfile
from pathlib import Path

import tour
from playwright.sync_api import sync_playwright

from service.cli.demo import draw
from service.cli.local_service import running
from service.client import Client
from service.web import drawing, figures
from service.web.drawing import ClientSource, Wish

HERE = Path(__file__).parent
PROFILE = {
    "name": "alignment against the exponent",
    "trial": {
        "data": {"samples": 100, "inputs": 8, "outputs": 4, "spectrum": [3, 1.6, 0.9, 0.5]},
        "network": {"width": 12},
        "training": {"steps": 1000},
        "measure": {
            "points": 40,
            "metrics": ["alignment", *(f"agop_singular_value@{index}" for index in range(1, 5))],
            "exponents": [0.1, 0.2, 0.25, 0.333, 0.4, 0.5, 0.6, 0.75, 1],
        },
    },
    "axes": {"network.depth": [2, 3, 4], "training.weight_decay": [0, 0.02, 0.1]},
    "seeds": 5,
}
DECAY, DEPTH = "training.weight_decay", "network.depth"
FIGURES = {
    "residual": ("weight-decay", Wish(color=DECAY, facet=DEPTH, metric="residual", title="Residual")),
    "imbalance": ("weight-decay", Wish("imbalance", DECAY, DEPTH, title="Imbalance decays like e^(−2λt)")),
    "loss": ("weight-decay", Wish(color=DECAY, facet=DEPTH, metric="train_loss", title="Training loss")),
    "phase": ("weight-decay", Wish("phase", DECAY, DEPTH, title="Final alignment")),
    "exponent": ("depth", Wish("exponent", DEPTH, title="The best exponent is 1/L")),
    "profile": ("profile", Wish("profile", DECAY, DEPTH, title="Alignment against the exponent")),
    "spectra": ("profile", Wish("spectra", DECAY, DEPTH, title="Singular values of the Jacobian")),
}


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
        others = {"depth": client.submit_preset("depth").id, "profile": client.submit(PROFILE).id}
        runs = {"weight-decay": experiment} | {name: client.wait(one).id for name, one in others.items()}
        for name, (run, wish) in FIGURES.items():
            source = ClientSource(client, runs[run], client.experiment(runs[run]).grid)
            figures.save(drawing.draw(wish, source), HERE / f"{name}.png")
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
