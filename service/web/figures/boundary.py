"""Where statements turn: brackets against the setting that they were looked for at, and curves through a plane."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.web.figures.hand import zooming
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import UNWRITTEN, hues, label, panels, styled, told

_VERDICTS: Final = {"holds": "#31688e", "does not": "#fde725", "undefined": "#999999"}


def boundary_lines(
    found: Sequence[Mapping[str, Any]], title: str = "", order: ValueOrder = UNWRITTEN, room: int = PRINTED
) -> Any:
    """One mark per bracket, from its lower to its upper end, a colour for each statement.

    Args:
        found: boundaries along one axis, the same for all, as `schemas.fits.BoundaryBody` has them.
        title: of the figure.
        order: of settings' values.
        room: width in pixels that the figure may take.
    """
    rows = [(one, bracket) for one in found for bracket in one["brackets"]]
    groups = [one["group"] for one, _ in rows]
    paths = list(dict.fromkeys(path for group in groups for path in group))
    varied = [path for path in paths if len({repr(group.get(path)) for group in groups}) > 1] or paths[:1]
    table = pl.DataFrame({path: [group.get(path) for group in groups] for path in varied or [""]}, strict=False)
    across, rest = told(table, varied[:1], "x", order), told(table, varied[1:], "facet", order)
    statements = [one["statement"] for one, _ in rows]
    frame = pl.DataFrame(
        {
            "x": across.labels,
            "facet": rest.labels,
            "statement": statements,
            "low": [float(bracket["low"]) for _, bracket in rows],
            "high": [float(bracket["high"]) for _, bracket in rows],
            "value": [float(bracket["value"]) for _, bracket in rows],
            "tried": [one["tried"] for one, _ in rows],
        }
    )
    (axis,) = found[0]["axes"]
    least, most = frame["value"].min(), frame["value"].max()
    in_decades = isinstance(least, float) and isinstance(most, float) and least > 0 and most / least > 10
    scale = alt.Scale(type="log", padding=12) if in_decades else alt.Scale(zero=False, padding=12)
    place, kinds = layout(room, len(rest.order)), list(dict.fromkeys(statements))
    legend = alt.Legend(title="boundary of", orient="bottom", columns=1, labelLimit=600)
    base: Any = alt.Chart(alt.Data(values=frame.to_dicts())).encode(
        x=alt.X("x:O", title=label(varied[0]) if varied else "", sort=across.order, axis=alt.Axis(labelAngle=0)),
        color=alt.Color("statement:N", sort=kinds, scale=alt.Scale(range=hues(len(kinds))), legend=legend),
        tooltip=[
            alt.Tooltip("statement:N", title="boundary of"),
            *([alt.Tooltip("x:O", title=label(varied[0]))] if varied else []),
            alt.Tooltip("value:Q", format=".6g"),
            alt.Tooltip("low:Q", format=".6g", title="above"),
            alt.Tooltip("high:Q", format=".6g", title="up to"),
            alt.Tooltip("tried:Q", title="values tried"),
        ],
    )
    y = alt.Y("low:Q", title=label(axis), scale=scale)
    bars = base.mark_rule(strokeWidth=3).encode(y=y, y2="high:Q")
    points = base.mark_point(filled=True, size=45).encode(y=alt.Y("value:Q", scale=scale, title=label(axis)))
    chart = (bars + points).properties(width=place.width, height=place.height)
    says = f"a mark is a bracket and its middle; {len(rows)} of {len(found)} groups and statements have one"
    return styled(panels(chart, rest.order, place.columns, place.width), title or "Boundaries", says, place.line)


def boundary_plane(
    found: Sequence[Mapping[str, Any]], title: str = "", order: ValueOrder = UNWRITTEN, room: int = PRINTED
) -> Any:
    """Every place that was tried, by its verdict, and the smallest cells that the boundary goes through.

    Args:
        found: boundaries in one plane, as `schemas.fits.BoundaryBody` has them; a panel for each.
        title: of the figure.
        order: of settings' values.
        room: width in pixels that the figure may take.
    """
    paths = list(dict.fromkeys(path for one in found for path in one["group"]))
    groups = pl.DataFrame(
        {path: [one["group"].get(path) for one in found] for path in paths} or {"": [""] * len(found)}
    )
    panel = told(groups, paths, "facet", order)
    words = {True: "holds", False: "does not", None: "undefined"}
    places = [
        {"x": x, "y": y, "verdict": words[holds], "facet": name}
        for one, name in zip(found, panel.labels, strict=True)
        for x, y, holds in one["seen"]
    ]
    cells = [
        {"x": cell["low"][0], "y": cell["low"][1], "right": cell["high"][0], "top": cell["high"][1], "facet": name}
        for one, name in zip(found, panel.labels, strict=True)
        for cell in one["cells"]
    ]
    along, up = found[0]["axes"]
    scales = [_scale([place[at] for one in found for place in one["seen"]]) for at in (0, 1)]
    x = alt.X("x:Q", title=label(along), scale=scales[0])
    y = alt.Y("y:Q", title=label(up), scale=scales[1])
    place = layout(room, len(panel.order))
    data: Any = alt.Data(values=[*places, *cells])
    base: Any = alt.Chart(data)
    crossed = (
        base.transform_filter("isValid(datum.right)")
        .mark_rect(color="#b5367a", opacity=0.45)
        .encode(x=x, x2="right:Q", y=y, y2="top:Q")
    )
    seen = [word for word in _VERDICTS if any(one["verdict"] == word for one in places)]
    colours = alt.Scale(domain=seen, range=[_VERDICTS[word] for word in seen])
    dots = (
        base.transform_filter("isValid(datum.verdict)")
        .mark_circle(size=26, stroke="#555", strokeWidth=0.4, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.Color("verdict:N", scale=colours, title="the statement"),
            tooltip=[
                alt.Tooltip("x:Q", title=label(along), format=".6g"),
                alt.Tooltip("y:Q", title=label(up), format=".6g"),
                alt.Tooltip("verdict:N", title="the statement"),
            ],
        )
    )
    chart = (crossed + dots).properties(width=place.width, height=place.height).add_params(zooming())
    says = f"{found[0]['statement']}: {len(places)} places tried, {len(cells)} cells that the boundary crosses"
    return styled(panels(chart, panel.order, place.columns, place.width), title or "Boundary", says, place.line)


def _scale(values: Sequence[float]) -> Any:
    least, most = min(values), max(values)
    is_log = least > 0 and most / least > 10
    kind: dict[str, Any] = {"type": "log"} if is_log else {"zero": False}
    return alt.Scale(**kind, nice=False, padding=8)
