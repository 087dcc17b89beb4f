"""The best exponent of layer 1 against depth, beside the exponent 1/L that theory gives."""

from typing import Any

import altair as alt
import polars as pl

from service.web.figures.style import hue, label, named, ordered, rule_color, seeds, styled


def exponent_by_depth(results: pl.DataFrame, *, color: str | None = None, title: str = "") -> Any:
    """One point per depth and colour: median over seeds, whiskers from the least to the largest.

    Args:
        results: columns network.depth, best_exponent_median, _min, _max, _count, and the coloured setting.
        color: path of the setting told apart by colour; None for one colour.
        title: of the figure.
    """
    frame = results.select(
        pl.col("network.depth").alias("depth"),
        pl.col("best_exponent_median").alias("median"),
        pl.col("best_exponent_min").alias("low"),
        pl.col("best_exponent_max").alias("high"),
        named(color, "color") if color else pl.lit("all trials").alias("color"),
    ).drop_nulls()
    depths = sorted(frame["depth"].unique().to_list())
    span = list(range(min(depths), max(depths) + 1)) if depths else [2]
    theory = [{"from": depth - 0.36, "to": depth + 0.36, "theory": 1 / depth} for depth in span]
    order = ordered(frame["color"])
    gap = 0.6 / max(len(order), 1)
    place = pl.col("color").replace_strict({name: number for number, name in enumerate(order)}, return_dtype=pl.Float64)
    frame = frame.with_columns((pl.col("depth") + gap * (place - (len(order) - 1) / 2)).alias("x"))
    scale = alt.Scale(domain=[span[0] - 0.5, span[-1] + 0.5], nice=False, zero=False)
    axis = alt.Axis(values=span, format="d", grid=False)
    x = alt.X("x:Q", title=label("network.depth"), axis=axis, scale=scale)
    y_title = "best exponent of the AGOP (dimensionless)"
    y = alt.Y("median:Q", title=y_title, scale=alt.Scale(zero=False), axis=alt.Axis(format="~g"))
    paint = hue(frame, label(color) if color else "")
    base: Any = alt.Chart(alt.Data(values=frame.to_dicts())).encode(x=x, color=paint)
    whisker = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title=y_title), y2="high:Q")
    point = base.mark_point(filled=True, size=60, opacity=1).encode(y=y)
    line: Any = alt.Chart(alt.Data(values=theory)).mark_rule(strokeWidth=1.6, color=rule_color(), strokeDash=[4, 3])
    # a depth may stand for several grid points, so that these are not seeds alone
    counted = seeds(results["best_exponent_count"]).replace("seed", "trial")
    chart = alt.layer(
        line.encode(
            x=alt.X("from:Q", title=label("network.depth"), axis=axis, scale=scale), x2="to:Q", y=alt.Y("theory:Q")
        ),
        whisker,
        point,
    ).properties(width=max(260, 84 * len(span)), height=240)
    return styled(
        chart,
        title or "Best exponent",
        f"layer 1, median of {counted}, whiskers from least to largest; dashed: 1/L; undefined left out",
    )
