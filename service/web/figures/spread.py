"""The spread of final values over seeds, as a strip and a box for each group, and of differences to a baseline."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.pooling import Pooling
from service.web.figures.following import followed
from service.web.figures.hand import PICKED, brushing, faded_unless, shown_by_legend
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import UNWRITTEN, behind, hue, label, panels, rule_color, styled, told
from service.web.figures.variables import Variable, word_axis

_MOST_STRIPS: Final = 6_000
"""Points that are drawn one by one; of more there are boxes alone."""
_BAND: Final = "from quartile to quartile with its median, whiskers from least to largest"
_BOX: Final = ("low", "q25", "median", "q75", "high")


def spread(
    table: pl.DataFrame,
    x: str,
    y: Variable,
    *,
    color: str | None,
    facets: Sequence[str] = (),
    keys: Sequence[str] = (),
    title: str = "",
    pooling: Pooling | None = None,
    order: ValueOrder = UNWRITTEN,
    room: int = PRINTED,
    rule: float | None = None,
    says: str = "",
) -> Any:
    """A box from quartile to quartile with its median, whiskers from least to largest, and every trial beside it.

    Args:
        table: settings of the trials, a row for each.
        x: path whose values stand beside each other.
        y: the values, in the table's order.
        color: path told apart within a value of x; None for none.
        facets: paths told apart by panel.
        keys: paths by which a trial is told and followed.
        title: of the figure.
        pooling: what a box stands for.
        order: of settings' values.
        room: width in pixels that the figure may take.
        rule: where a line is drawn across.
        says: what else the subtitle says.
    """
    groups, colors = told(table, [x], "x", order), told(table, [color] if color else [], "color", order)
    panel = told(table, facets, "facet", order)
    settings = {f"s{place}": told(table, [path], "label", order).labels for place, path in enumerate(keys)}
    columns = [y.values.alias("y"), groups.labels, colors.labels, panel.labels]
    frame = pl.DataFrame([*columns, *(labels.alias(name) for name, labels in settings.items())])
    frame = _placed(frame.drop_nulls("y"), groups.order, colors.order).with_columns(pl.col("y").round_sig_figs(7))
    boxes, place = _quartiles(frame), layout(room, len(panel.order), has_legend=color is not None)
    paint = hue(colors.order, label(color) if color else "", is_below=place.legend_below)
    half = 0.16 / max(1, len(colors.order))
    look = _Look(_across(label(x), groups.order, place.width), y, paint, shown_by_legend("color"), half)
    by = [alt.Tooltip("x:N", title=label(x)), *([alt.Tooltip("color:N", title=label(color))] if color else [])]
    points = [alt.Tooltip(f"s{at}:N", title=label(path)) for at, path in enumerate(keys)]
    picked = alt.selection_point(name=PICKED, fields=list(settings), on="click", clear=False, toggle=False, empty=False)
    strip = _strip(look, points).add_params(*brushing(["y"]), look.shown, picked)
    strips = frame.to_dicts() if frame.height <= _MOST_STRIPS else []
    layers = [*_rule(rule), *_boxes(look, by), strip]
    chart = alt.layer(*layers, data=alt.Data(values=[*boxes.to_dicts(), *strips]))
    chart = chart.properties(width=place.width, height=place.height)
    subtitle = f"in a box {behind(boxes['count'], pooling, _BAND)}{f'; {says}' if says else ''}"
    subtitle += "" if strips or not frame.height else f"; {frame.height} trials are not drawn one by one"
    brush = {"y": y.brushed("y")} if y.path else {}
    links = followed(table, keys, list(settings.values()), None, list(settings), brush)
    whole = panels(chart, panel.order, place.columns, place.width)
    return styled(whole, title or y.name, subtitle, place.line).properties(usermeta=links)


def _quartiles(frame: pl.DataFrame) -> pl.DataFrame:
    """A box for every group."""
    return frame.group_by("x", "color", "facet", "middle", maintain_order=True).agg(
        pl.col("y").min().alias("low"),
        pl.col("y").quantile(0.25, "linear").alias("q25"),
        pl.col("y").median().alias("median"),
        pl.col("y").quantile(0.75, "linear").alias("q75"),
        pl.col("y").max().alias("high"),
        pl.len().alias("count"),
    )


def _across(title: str, names: Sequence[str], width: int) -> dict[str, Any]:
    """The horizontal axis, on which each group has a place."""
    return {
        "title": title,
        "axis": alt.Axis(values=[*range(len(names))], grid=False, labelExpr=_names(names), **word_axis(names, width)),
        "scale": alt.Scale(domain=[-0.5, len(names) - 0.5], nice=False, zero=False),
    }


@dataclass(frozen=True)
class _Look:
    """What boxes and strips share."""

    across: dict[str, Any]
    y: Variable
    paint: Any
    shown: Any
    half: float
    """Half the width of a box, of the distance between two groups."""


def _boxes(look: _Look, by: Sequence[Any]) -> list[Any]:
    """Whiskers, box and median of every group."""
    base: Any = alt.Chart().encode(color=look.paint, opacity=faded_unless([look.shown], 1))
    base = base.transform_filter("isValid(datum.median)")
    base = base.transform_calculate(left=f"datum.middle - {look.half}", right=f"datum.middle + {look.half}")
    said = [*by, *(alt.Tooltip(f"{name}:Q", format=".6~g") for name in _BOX), alt.Tooltip("count:Q", title="trials")]
    middle, left = (alt.X(field, **look.across) for field in ("middle:Q", "left:Q"))
    whisker = base.mark_rule(strokeWidth=1.2).encode(x=middle, y=look.y.along(alt.Y, "low"), y2="high:Q")
    box = base.mark_rect(fillOpacity=0.25, strokeWidth=1.2).encode(
        x=left, x2="right:Q", y=look.y.along(alt.Y, "q25"), y2="q75:Q", stroke=look.paint, tooltip=said
    )
    median = base.mark_rule(strokeWidth=2.6).encode(x=left, x2="right:Q", y=look.y.along(alt.Y, "median"))
    return [whisker, box, median]


def _strip(look: _Look, said: Sequence[Any]) -> Any:
    """Every trial beside the box of its group."""
    base: Any = alt.Chart().encode(color=look.paint, opacity=faded_unless([look.shown], 0.7))
    return (
        base.transform_filter("isValid(datum.y)")
        .mark_point(filled=True, size=26, cursor="pointer", clip=True)
        .encode(x=alt.X("place:Q", **look.across), y=look.y.along(alt.Y, "y"), tooltip=[*said, look.y.told("y")])
    )


def _rule(at: float | None) -> list[Any]:
    """A line across at a value."""
    line: Any = alt.Chart().mark_rule(strokeDash=[4, 3], color=rule_color())
    return [] if at is None else [line.encode(y=alt.datum(at))]


def _names(order: Sequence[str]) -> str:
    """The label of a place on the axis, as an expression of Vega."""
    return f"{json.dumps([*order])}[datum.value]"


def _placed(frame: pl.DataFrame, groups: Sequence[str], colors: Sequence[str]) -> pl.DataFrame:
    """Where a group's box stands, and beside it each of its points, spread by its rank so that none hides another."""
    gap = 0.8 / max(1, len(colors))
    at = {name: float(number) for number, name in enumerate(groups)}
    within = {name: gap * (number - (len(colors) - 1) / 2) for number, name in enumerate(colors)}
    middle = pl.col("x").replace_strict(at, return_dtype=pl.Float64) + pl.col("color").replace_strict(
        within, return_dtype=pl.Float64
    )
    count = pl.len().over("x", "color", "facet")
    number = pl.int_range(pl.len()).over("x", "color", "facet")
    golden = (number * (math.sqrt(5) - 1) / 2) % 1
    spread_out = pl.when(count > 1).then(golden - 0.5).otherwise(0.0)
    return frame.with_columns(middle.round(4).alias("middle")).with_columns(
        (pl.col("middle") + 0.22 * gap + 0.3 * gap * (spread_out + 0.5)).round(4).alias("place")
    )
