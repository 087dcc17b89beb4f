"""Power laws behind claims: the points that each was fitted to, its line, and the slopes within its interval."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.number_format import number
from service.web.figures.hand import zooming
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import UNWRITTEN, hue, label, metric_label, panels, styled, told

_MOST_COLORS: Final = 16


def power_laws(
    found: Sequence[Mapping[str, Any]], title: str = "", order: ValueOrder = UNWRITTEN, room: int = PRINTED
) -> Any:
    """On logarithms, so that a power law is a line: points, least-squares lines, and bands of their exponents.

    Args:
        found: fits as `schemas.fits.FitBody` has them, of one setting and one metric, each with a value.
        title: of the figure.
        order: of settings' values.
        room: width in pixels that the figure may take.
    """
    paths = list(dict.fromkeys(path for one in found for path in one["group"]))
    groups = pl.DataFrame(
        {path: [one["group"].get(path) for one in found] for path in paths} or {"": [""] * len(found)}, strict=False
    )
    colors = told(groups, paths, "color", order)
    claims = list(dict.fromkeys(one["claim"] for one in found))
    facets = claims if len(claims) > 1 else [""]
    place, names = layout(room, len(facets)), ", ".join(label(path) for path in paths)
    has_legend = bool(paths) and len(colors.order) <= _MOST_COLORS
    paint = hue(colors.order, names if has_legend else "", is_below=place.legend_below)
    base: Any = alt.Chart(_rows(found, colors.labels, len(claims) > 1)).encode(color=paint)
    chart = alt.layer(*_marks(base, found[0], names)).properties(width=place.width, height=place.height)
    chart = chart.add_params(zooming())
    return styled(panels(chart, facets, place.columns, place.width), title or "Power laws", _told(found), place.line)


def _rows(found: Sequence[Mapping[str, Any]], colors: Iterable[str], are_told_apart: bool) -> Any:
    """The points of every fit, and those of its line and band."""
    points: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for one, color in zip(found, colors, strict=True):
        at = {"color": color, "facet": one["claim"] if are_told_apart else ""}
        exponent = _with_interval(one)
        points += [{"x": x, "y": y, "exponent": exponent, **at} for x, y in one["seen"]]
        ends += [end | {"exponent": exponent} | at for end in _line(one)]
    return alt.Data(values=[*points, *ends])


def _marks(base: Any, first: Mapping[str, Any], names: str) -> list[Any]:
    """Bands, lines and points, on logarithms; `names` says what tells them apart, empty for nothing."""
    scale = alt.Scale(type="log", nice=False, padding=10)
    name = metric_label(first["metric"])
    title_y = f"1 − {name}" if first["transform"] == "1-x" else name
    x = alt.X("x:Q", title=label(first["x"]), scale=scale)
    says = alt.Tooltip("exponent:N", title="exponent")
    who = [alt.Tooltip("color:N", title=names)] if names else []
    here = [
        alt.Tooltip("x:Q", title=label(first["x"]), format=".6g"),
        alt.Tooltip("y:Q", title=title_y, format=".6g"),
    ]

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q", title=title_y, scale=scale)

    area = base.transform_filter("isValid(datum.least)").mark_area(opacity=0.16)
    line = base.transform_filter("isValid(datum.line)").mark_line(strokeWidth=1.8)
    dots = base.transform_filter("isValid(datum.y)").mark_point(filled=True, size=34, opacity=0.8)
    return [
        area.encode(x=x, y=y("least"), y2="most:Q", detail="color:N"),
        line.encode(x=x, y=y("line"), tooltip=[*who, says]),
        dots.encode(x=x, y=y("y"), tooltip=[*who, *here, says]),
    ]


def _line(one: Mapping[str, Any]) -> list[dict[str, float]]:
    """Points of a fit's line, with the ends of the slopes through its centre; least squares goes through that."""
    (x, y), places = one["centre"], [x for x, _ in one["seen"]]
    lines = []
    for at in sorted({min(places), x, max(places)}):
        step = {"x": at, "line": y * (at / x) ** one["value"]}
        if one["low"] is not None:
            sides = sorted(y * (at / x) ** one[end] for end in ("low", "high"))
            step |= {"least": sides[0], "most": sides[1]}
        lines.append(step)
    return lines


def _with_interval(one: Mapping[str, Any]) -> str:
    between = "" if one["low"] is None else f" ({number(one['low'])} to {number(one['high'])})"
    return f"{number(one['value'])}{between}"


def _told(found: Sequence[Mapping[str, Any]]) -> str:
    """What the exponents are, and what the bands stand for."""
    if len(found) == 1:
        says = f"exponent {_with_interval(found[0])}, {found[0]['points']} points"
    else:
        exponents = [one["value"] for one in found]
        says = f"{len(found)} exponents from {number(min(exponents))} to {number(max(exponents))}"
    return f"{says}; bands are slopes within the 95 % interval of least squares"
