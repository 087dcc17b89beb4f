"""The best exponent of layer 1 against depth, beside the exponent 1/L that theory gives."""

from typing import Any

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.pooling import Pooling
from service.web.figures.hand import faded_unless, shown_by_legend
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import UNWRITTEN, Told, behind, hue, label, rule_color, styled, told

_SAID = {"median": "median", "low": "least", "high": "largest"}


def exponent_by_depth(
    results: pl.DataFrame,
    *,
    color: str | None = None,
    title: str = "",
    pooling: Pooling | None = None,
    order: ValueOrder = UNWRITTEN,
    has_theory: bool = True,
    room: int = PRINTED,
) -> Any:
    """One point per depth and colour: median over its trials, whiskers from the least to the largest.

    Args:
        results: columns network.depth, best_exponent_median, _min, _max, _count, and the coloured setting.
        color: path of the setting told apart by colour; None for one colour.
        title: of the figure.
        pooling: what a point stands for.
        order: of the coloured setting's values.
        has_theory: whether depth counts the maps of every network, so that 1/L is the theory's exponent.
        room: width in pixels that the figure may take.
    """
    colors = told(results, [color] if color else [], "color", order)
    frame, place = _placed(results, colors), layout(room, 1)
    depths = sorted(frame["depth"].unique().to_list())
    span = list(range(min(depths), max(depths) + 1)) if depths else [2]
    scale = alt.Scale(domain=[span[0] - 0.5, span[-1] + 0.5], nice=False, zero=False)
    axis = alt.Axis(values=span, format="d", grid=False)
    x = alt.X("x:Q", title=label("network.depth"), axis=axis, scale=scale)
    paint = hue(colors.order, label(color) if color else "", is_below=place.legend_below)
    base: Any = alt.Chart(alt.Data(values=frame.to_dicts())).encode(x=x, color=paint)
    chart = alt.layer(_theory(span if has_theory else [], axis, scale), *_points(base, color)).properties(
        width=place.width if room else max(260, 84 * len(span)), height=place.height if room else 240
    )
    says = behind(results["best_exponent_count"], pooling, "whiskers from least to largest")
    return styled(
        chart,
        title or "Best exponent",
        f"layer 1, median of {says}; {'dashed: 1/L; ' if has_theory else ''}undefined left out",
        place.line,
    )


def _placed(results: pl.DataFrame, colors: Told) -> pl.DataFrame:
    """What is drawn of each group, those of one depth beside each other."""
    frame = results.select(
        pl.col("network.depth").alias("depth"),
        pl.col("best_exponent_median").alias("median"),
        pl.col("best_exponent_min").alias("low"),
        pl.col("best_exponent_max").alias("high"),
        pl.col("best_exponent_count").alias("count"),
        colors.labels,
    ).drop_nulls()
    gap = 0.6 / max(len(colors.order), 1)
    places = {name: number for number, name in enumerate(colors.order)}
    shift = pl.col("color").replace_strict(places, return_dtype=pl.Float64)
    return frame.with_columns((pl.col("depth") + gap * (shift - (len(colors.order) - 1) / 2)).alias("x"))


def _points(base: Any, color: str | None) -> list[Any]:
    """Whiskers and medians, which say what they are."""
    y_title = "best exponent of the AGOP (dimensionless)"
    y = alt.Y("median:Q", title=y_title, scale=alt.Scale(zero=False), axis=alt.Axis(format="~g"))
    shown = [shown_by_legend("color")] if color else []
    opacity = faded_unless(shown, 1) if shown else alt.value(1)
    said = [
        alt.Tooltip("color:N", title=label(color) if color else "trials of"),
        alt.Tooltip("depth:Q", title=label("network.depth")),
        *(alt.Tooltip(f"{name}:Q", title=title, format=".6~g") for name, title in _SAID.items()),
        alt.Tooltip("count:Q", title="trials"),
    ]
    whisker = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title=y_title), y2="high:Q", opacity=opacity)
    point = base.mark_point(filled=True, size=60).encode(y=y, tooltip=said, opacity=opacity)
    return [whisker, point.add_params(*shown)]


def _theory(depths: list[int], axis: Any, scale: Any) -> Any:
    """A dash at 1/L over every depth L."""
    dashes = [{"from": depth - 0.36, "to": depth + 0.36, "theory": 1 / depth} for depth in depths]
    line: Any = alt.Chart(alt.Data(values=dashes)).mark_rule(strokeWidth=1.6, color=rule_color(), strokeDash=[4, 3])
    x = alt.X("from:Q", title=label("network.depth"), axis=axis, scale=scale)
    return line.encode(x=x, x2="to:Q", y=alt.Y("theory:Q"))
