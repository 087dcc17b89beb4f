"""Any metric against step or time: median over seeds, band from the least to the largest, and what theory says.

A line is drawn through measured steps only, and breaks where nothing is defined.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.pooling import Pooling
from service.web.figures.following import followed
from service.web.figures.hand import faded_unless, shown_by_legend, under_the_pointer, vertical_range, zooming
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import (
    POWERS,
    UNWRITTEN,
    behind,
    dashes,
    hue,
    label,
    metric_label,
    panels,
    panels_in_rows,
    rule_color,
    styled,
    told,
)

LOGARITHMIC = frozenset(
    {"residual", "imbalance", "imbalance_relative", "layer_imbalance", "train_loss", "test_loss", "relative_loss"}
    | {"gradient_norm"}
)
"""Metrics whose decay is what one looks at."""
_ALIGNMENTS = frozenset({"alignment", "alignment_half", "alignment_one", "best_alignment", "fact_alignment"})
_FLOOR = 1e-16
_DECAY, _RATE, _RULE = "training.weight_decay", "training.learning_rate", "training.optimizer"
EDGE = (_RATE, _RULE)
"""What the edge of stability follows from: curves of a sharpness carry them where every line has one of each."""


@dataclass(frozen=True)
class CurveLook:
    """How curves are drawn: by which colours and panels, against what, and as what."""

    color: str
    facet: str | None = None
    """Paths separated by commas: a panel for every combination of their values."""
    against: Literal["step", "time"] = "step"
    complement: bool = False
    """Draw 1 - metric on a logarithmic axis, where an ansatz holds at 0."""
    title: str = ""
    layer: int | str = 1
    dash: str | None = None
    pooling: Pooling | None = None
    order: ValueOrder = UNWRITTEN
    room: int = PRINTED
    """Width in pixels that the figure may take."""
    in_rows: bool = False
    """Of two facets, the first is a row of panels and the second a column."""

    @property
    def facets(self) -> list[str]:
        """Paths told apart by panel."""
        return self.facet.split(",") if self.facet else []

    @property
    def keys(self) -> list[str]:
        """Paths that tell lines apart."""
        return list(dict.fromkeys([self.color, *([self.dash] if self.dash else []), *self.facets]))


def alignment_curves(
    curves: pl.DataFrame,
    *,
    color: str,
    facet: str | None = None,
    complement: bool = False,
    title: str = "",
    pooling: Pooling | None = None,
) -> Any:
    """Alignment of layer 1 against step, a line per colour; see metric_curves."""
    look = CurveLook(color, facet, complement=complement, title=title or "Alignment", pooling=pooling)
    return metric_curves(curves, "alignment", look)


def metric_curves(curves: pl.DataFrame, metric: str, look: CurveLook) -> Any:
    """A metric against step or time, one line per colour and one panel per value of the facet.

    Args:
        curves: columns step, time, METRIC_median, METRIC_min, METRIC_max, METRIC_count, and the settings.
        metric: its id.
        look: colours, panels, axes, title.
    """
    color, dash, facet = (
        told(curves, paths, name, look.order)
        for paths, name in (([look.color], "color"), ([look.dash] if look.dash else [], "dash"), (look.facets, "facet"))
    )
    sides = [told(curves, [path], "facet", look.order) for path in look.facets] if look.in_rows else []
    named = [side.labels.alias(name) for side, name in zip(sides, ("row", "column"), strict=False)]
    frame = _prepared(curves.with_columns(color.labels, dash.labels, facet.labels, *named), metric, look)
    place = layout(look.room, len(facet.order), last=_fastest(curves, look), in_rows=look.in_rows)
    is_log = look.complement or metric in LOGARITHMIC
    name = metric.replace("_", " ") if look.in_rows else metric_label(metric)
    y_title = f"1 − {name}" if look.complement else name
    y, boxes = _y(_in_rows(y_title, place.height), is_log, metric, frame)
    shown = [shown_by_legend("color"), *([shown_by_legend("dash")] if look.dash else [])]
    hues = hue(color.order, label(look.color), is_below=place.legend_below)
    base: Any = alt.Chart().encode(x=_x(look.against), color=hues, detail="dash:N")
    band = base.mark_area(invalid="break-paths-filter-domains", clip=True).encode(
        y=alt.Y("low:Q", title=_in_rows(y_title, place.height)), y2="high:Q", opacity=faded_unless(shown, 0.22)
    )
    line = base.mark_line(strokeWidth=1.8, invalid="break-paths-filter-domains", clip=True).encode(
        y=y, opacity=faded_unless(shown, 1)
    )
    if look.dash:
        line = line.encode(strokeDash=dashes(dash.order, label(look.dash), is_below=place.legend_below))
    theory, note = _theory(metric, look, _x(look.against), is_known="theory" in frame.columns)
    points = under_the_pointer(base.encode(y=y), _told(look, y_title), frame.height, ["color", "dash", "facet"])
    layers = (band.add_params(zooming(), *shown), line, *theory, points)
    chart = alt.layer(*layers, data=alt.Data(values=frame.to_dicts())).properties(
        width=place.width, height=place.height
    )
    subtitle = f"layer {look.layer}, " if metric.startswith(("align", "best", "resid", "fact")) else ""
    subtitle += f"median of {behind(curves[f'{metric}_count'], look.pooling, 'band from least to largest')}{note}"
    paneled = (
        panels_in_rows(chart, sides[0].order, sides[1].order, place.width)
        if sides
        else panels(chart, facet.order, place.columns, place.width)
    )
    whole = paneled.add_params(*boxes)
    return styled(whole, look.title or metric_label(metric), subtitle, place.line).properties(
        usermeta=followed(curves, look.keys, [color.labels, dash.labels, facet.labels], _names(look))
    )


def _fastest(curves: pl.DataFrame, look: CurveLook) -> int:
    """Values of the last of several settings that are told apart by panel."""
    return curves[look.facets[-1]].n_unique() if len(look.facets) > 1 else 1


def _names(look: CurveLook) -> dict[str, str]:
    """How what tells lines apart is called beside a point -> its field."""
    names = {"color": label(look.color), "dash": look.dash and label(look.dash), "facet": look.facet and "panel"}
    return {title: field for field, title in names.items() if title}


def _told(look: CurveLook, y_title: str) -> list[Any]:
    """What a point says: its group, where it is, its value, how many trials are behind it, and the band."""
    groups = [alt.Tooltip(f"{field}:N", title=title) for title, field in _names(look).items()]
    return [
        *groups,
        alt.Tooltip("step:Q", title="step", format=","),
        alt.Tooltip("median:Q", title=y_title, format=".6~g"),
        alt.Tooltip("low:Q", title="least", format=".6~g"),
        alt.Tooltip("high:Q", title="largest", format=".6~g"),
        alt.Tooltip("count:Q", title="trials"),
    ]


def _x(against: str) -> Any:
    if against == "time":
        axis = alt.Axis(format="~f", tickCount=5)
        return alt.X("x:Q", title="time t (sum of learning rates, or flow time)", axis=axis)
    axis = alt.Axis(format="~s", values=[10**power for power in range(10)])
    return alt.X("x:Q", title="step + 1", scale=alt.Scale(type="log", nice=False), axis=axis)


def _in_rows(title: str, height: int) -> str | list[str]:
    """An axis' title, in two rows where it is longer than the axis."""
    return title.split(" ", 1) if 6 * len(title) > height and " " in title else title


def _y(title: str | list[str], is_log: bool, metric: str, frame: pl.DataFrame) -> tuple[Any, list[Any]]:
    """The vertical axis, and the box that changes its range where the metric has one."""
    if is_log:
        axis = alt.Axis(format="~e", labelExpr=POWERS, tickCount=6)
        return alt.Y("median:Q", title=title, scale=alt.Scale(type="log"), axis=axis), []
    if metric in _ALIGNMENTS:
        least = [value for name in ("low", "median") if isinstance(value := frame[name].min(), float)]
        bottom = max(0.0, math.floor(20 * min(least, default=0.0) - 0.2) / 20)
        scale, boxes = vertical_range(bottom, 1 + 0.02 * (1 - bottom), (0.0, 1.0))
        return alt.Y("median:Q", title=title, scale=scale, axis=alt.Axis(format="~g", tickCount=6)), boxes
    return alt.Y("median:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(format="~g", tickCount=6)), []


def _theory(metric: str, look: CurveLook, x: Any, *, is_known: bool) -> tuple[list[Any], str]:
    """The dashed lines of theory, and what the subtitle says of them."""
    if is_known:
        dashed: Any = alt.Chart().mark_line(
            strokeDash=[2, 3], strokeWidth=1.4, color=rule_color(), invalid="break-paths-filter-domains"
        )
        said = "2 / learning rate" if metric == "sharpness" else "D(0) e^(−2λt), gradient flow"
        return [dashed.encode(x=x, y=alt.Y("theory:Q"), detail=["color:N", "dash:N"])], f"; dashed: {said}"
    if metric in _ALIGNMENTS and not look.complement:
        rule: Any = alt.Chart().mark_rule(strokeDash=[4, 3], color=rule_color())
        return [rule.encode(y=alt.datum(1.0))], "; dashed: the ansatz holds exactly"
    return [], ""


def _prepared(curves: pl.DataFrame, metric: str, look: CurveLook) -> pl.DataFrame:
    """Rows to draw. What is undefined stays null, so that the line breaks there."""
    median, low, high = (pl.col(f"{metric}_{name}") for name in ("median", "min", "max"))
    if look.complement:
        # below 1e-16 a cosine in float64 says nothing
        median, low, high = ((1 - part).clip(_FLOOR) for part in (median, high, low))
    elif metric in LOGARITHMIC:
        median, low, high = (pl.when(part > 0).then(part) for part in (median, low, high))
    place = pl.col("time") if look.against == "time" else pl.col("step") + 1
    columns = [
        place.alias("x"),
        median.alias("median"),
        low.alias("low"),
        high.alias("high"),
        pl.col("step"),
        pl.col(f"{metric}_count").alias("count"),
        *map(pl.col, ("color", "dash", "facet", *(("row", "column") if look.in_rows else ()))),
    ]
    columns += _theory_values(curves, metric, look)
    found = curves.select(columns).sort("x").drop_nulls("x")
    # more digits are nowhere seen, and are most of what a page loads
    return found.with_columns(pl.col(pl.Float64).round_sig_figs(7))


def _theory_values(curves: pl.DataFrame, metric: str, look: CurveLook) -> list[pl.Expr]:
    """The column `theory`, where there is one: what the imbalance decays like, or where plain steps lose stability."""
    if metric == "sharpness" and not look.complement and {*EDGE} <= {*curves.columns}:
        is_plain = pl.col(_RULE).cast(pl.String).is_in(["gd", "sgd"])
        if curves.select(is_plain.any()).item():
            return [pl.when(is_plain).then(2 / pl.col(_RATE).cast(pl.Float64)).alias("theory")]
    if metric == "imbalance" and _DECAY in look.keys:
        start = pl.col("imbalance_median").sort_by("step").first().over(look.keys)
        decayed = start * (-2 * pl.col(_DECAY).cast(pl.Float64) * pl.col("time")).exp()
        # where nobody measures so little, the line would only stretch the axis
        return [pl.when(decayed > pl.col("imbalance_min").min() / 10).then(decayed).alias("theory")]
    return []
