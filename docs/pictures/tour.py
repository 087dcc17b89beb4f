"""The pictures of docs/tour.md, taken of pages of a running service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from playwright.sync_api import FloatRect, Page, ViewportSize

HERE = Path(__file__).parent / "tour"
DECAY, DEPTH = "training.weight_decay", "network.depth"
WIDE: Final[ViewportSize] = {"width": 1180, "height": 900}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
_EDGE: Final = 6
_PLACE: Final = """part => { const { x, y, width, height } = part.getBoundingClientRect();
  return [x + scrollX, y + scrollY, width, height]; }"""
FIGURES = {
    "2-curves": {"figure": "curves"},
    "3-distribution": {"figure": "distribution"},
    "4-scatter": {"figure": "scatter", "x": "final.train_loss"},
    "5-difference": {"figure": "difference", "x": DECAY},
    "6-parallel": {"figure": "parallel"},
}


def take(page: Page, url: str, experiment: str) -> list[Path]:
    """The ten pictures of an ended experiment over weight decay and depth."""
    HERE.mkdir(exist_ok=True)
    address = f"{url}/experiments/{experiment}"
    page.set_viewport_size(WIDE)
    page.goto(url)
    taken = [_of(page, "1-experiments", "main")]
    for name, asked in FIGURES.items():
        _open(page, address, asked)
        taken.append(_of(page, name, "#figure"))
    _open(page, address, {"order": "-mean", "shade": "true"})
    taken.append(_of(page, "7-results", "#results"))
    page.goto(f"{url}/submit?experiment={experiment}")
    page.locator("#axes:not([hidden])").wait_for()
    taken.append(_of(page, "8-submit", "main form[method=post]"))
    _open(page, f"{url}/compare", {"experiments": f"{experiment},{_other(page, url, experiment)}"})
    taken.append(_of(page, "9-compare", None))
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)
    _open(page, address, {})
    page.locator("#steer").evaluate("part => part.scrollIntoView()")
    taken.append(_of(page, "10-phone", None))
    page.emulate_media(color_scheme="light")
    return taken


def _open(page: Page, address: str, asked: Mapping[str, str]) -> None:
    page.goto(f"{address}?{urlencode(asked)}")
    page.locator("#figure[data-drawn]").wait_for(timeout=60_000)


def _other(page: Page, url: str, experiment: str) -> str:
    """Another experiment of the service."""
    items = page.request.get(f"{url}/api/v1/experiments").json()["items"]
    return next(one["id"] for one in items if one["id"] != experiment)


def _of(page: Page, name: str, part: str | None) -> Path:
    """A picture of a part of the page, or of what is seen of it."""
    path = HERE / f"{name}.png"
    if part:
        x, y, width, height = page.locator(part).evaluate(_PLACE)
        around: FloatRect = {"x": x - _EDGE, "y": y - _EDGE, "width": width + 2 * _EDGE, "height": height + 2 * _EDGE}
        page.screenshot(path=path, clip=around, full_page=True)
    else:
        page.screenshot(path=path)
    return path
