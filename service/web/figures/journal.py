"""Figures in the size of a journal's column: width in millimetres, letters in points, fonts embedded.

Widths: ICML and AISTATS 3.25 in a column and 6.75 in the page, as in their style files; Nature 89 mm and 183 mm, as in
its guide to authors. In a PDF one pixel of Vega is one point.
"""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import vl_convert

_POINTS_PER_MM: Final = 72 / 25.4
_DOTS_PER_INCH: Final = 300
_ROUNDS: Final = 4
_THINNER: Final = 0.65
_LEAST_PANEL: Final = 30.0


@dataclass(frozen=True)
class Journal:
    """How figures of a journal look."""

    column_mm: float
    page_mm: float
    letters: float
    """Size of words in points."""
    font: str


JOURNALS: Final = {
    "aistats": Journal(82.55, 171.45, 8, "serif"),
    "icml": Journal(82.55, 171.45, 8, "serif"),
    "nature": Journal(89, 183, 7, "sans-serif"),
}
ENDINGS: Final = (".pdf", ".svg", ".png", ".json")


def room_of(journal: Journal, *, is_wide: bool) -> int:
    """The room in points that a figure is laid out for."""
    return round((journal.page_mm if is_wide else journal.column_mm) * _POINTS_PER_MM)


def fitted(chart: Any, journal: Journal, *, is_wide: bool) -> dict[str, Any]:
    """The specification of a figure as wide as the column: no title, which a caption is, and letters of one size."""
    spec = copy.deepcopy(chart.to_dict())
    spec.pop("title", None)
    spec["config"] = spec["config"] | {"font": journal.font, "padding": 1}
    # beside each other, two legends would be wider than a column, and its panels narrow
    below = {"bottom": {"direction": "vertical", "anchor": "start"}}
    spec["config"]["legend"] = spec["config"].get("legend", {}) | {"layout": below}
    for part in _parts(spec):
        for key, value in part.items():
            if key in ("labelFontSize", "titleFontSize", "fontSize") and isinstance(value, int | float):
                part[key] = min(value, journal.letters)
            elif key in ("strokeWidth", "symbolStrokeWidth") and isinstance(value, int | float):
                part[key] = round(value * _THINNER, 2)
    wanted = (journal.page_mm if is_wide else journal.column_mm) * _POINTS_PER_MM
    panel = spec if "width" in spec else spec["spec"]
    for _ in range(_ROUNDS):
        missing = wanted - _width(vl_convert.vegalite_to_svg(spec))
        if abs(missing) < 0.5:
            break
        panel["width"] = max(_LEAST_PANEL, panel["width"] + missing / _columns(spec))
    return spec


def caption(chart: Any) -> str:
    """What the figure says above itself elsewhere: its title, and what its points stand for."""
    title = chart.to_dict()["title"]
    lines = [title["text"], title.get("subtitle", "")]
    return ". ".join(" ".join(one) if isinstance(one, list) else one for one in lines if one) + "."


def save_fitted(spec: dict[str, Any], path: Path) -> Path:
    """Write it as PDF with its fonts, SVG in millimetres, PNG of 300 dots per inch, or Vega-Lite.

    Raises:
        ValueError: for an ending that has no size in print.
    """
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path.name}: in a journal's size figures are drawn as {', '.join(ENDINGS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        return _written(path, json.dumps(spec).encode())
    if path.suffix == ".svg":
        return _written(path, _in_millimetres(vl_convert.vegalite_to_svg(spec)).encode())
    if path.suffix == ".pdf":
        return _written(path, vl_convert.vegalite_to_pdf(spec))
    return _written(path, vl_convert.vegalite_to_png(spec, ppi=_DOTS_PER_INCH))


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _parts(spec: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a specification but its data."""
    if isinstance(spec, dict):
        yield spec
        for key, value in spec.items():
            if key not in ("data", "datasets", "usermeta"):
                yield from _parts(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from _parts(value)


def _columns(spec: dict[str, Any]) -> int:
    """Panels beside each other."""
    facet = spec.get("facet", {})
    return len(facet["column"]["sort"]) if "column" in facet else spec.get("columns", 1)


def _width(svg: str) -> float:
    found = re.search(r'viewBox="0 0 ([0-9.]+) ', svg)
    if found is None:
        raise ValueError("a drawing without a viewBox")
    return float(found[1])


def _in_millimetres(svg: str) -> str:
    """The same drawing with its size in print."""

    def sized(match: re.Match[str]) -> str:
        return f'{match[1]}="{float(match[2]) / _POINTS_PER_MM:.2f}mm"'

    head, rest = svg.split(">", 1)
    return re.sub(r'\b(width|height)="([0-9.]+)"', sized, head) + ">" + rest
