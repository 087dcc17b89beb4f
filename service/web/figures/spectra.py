"""Singular values of the Jacobian against step, as the square roots of the AGOP's eigenvalues."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.pooling import Pooling
from service.web.figures.following import followed
from service.web.figures.hand import faded_unless, shown_by_legend, under_the_pointer, zooming
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import POWERS, UNWRITTEN, behind, hue, panels, styled, told


def spectra(
    curves: Mapping[str, pl.DataFrame],
    keys: Sequence[str] = (),
    *,
    title: str = "",
    layer: int | str = 1,
    pooling: Pooling | None = None,
    order: ValueOrder = UNWRITTEN,
    room: int = PRINTED,
) -> Any:
    """One line per index, largest singular value first; a panel for every combination of the settings.

    Args:
        curves: agop_singular_value@I -> columns step and NAME_median, _min, _max, _count, and the settings.
        keys: paths of the settings.
        title: of the figure.
        layer: whose AGOP.
        pooling: what a line stands for.
        order: of the settings' values.
        room: width in pixels that the figure may take.
    """
    frame = pl.concat([_lines(name, table, keys, order) for name, table in curves.items()])
    every = pl.concat([table.select(keys) for table in curves.values()]) if keys else pl.DataFrame()
    indices = sorted((name.partition("@")[2] for name in curves), key=float)
    counts = pl.concat([table[f"{name}_count"] for name, table in curves.items()])
    axis = alt.Axis(format="~s", values=[10**power for power in range(10)])
    x = alt.X("x:Q", title="step + 1", scale=alt.Scale(type="log", nice=False), axis=axis)
    y_axis = alt.Axis(format="~e", labelExpr=POWERS, tickCount=6)
    y = alt.Y("median:Q", title="singular value of the Jacobian", scale=alt.Scale(type="log"), axis=y_axis)
    facets = told(every, keys, "facet", order).order
    fastest = every[keys[-1]].n_unique() if len(keys) > 1 else 1
    place, shown = layout(room, len(facets), last=fastest, printed=(230, 190)), shown_by_legend("color")
    base: Any = alt.Chart().encode(x=x, color=hue(indices, "index i", is_below=place.legend_below))
    broken: dict[str, Any] = {"invalid": "break-paths-filter-domains", "clip": True}
    band = base.mark_area(**broken).encode(y=alt.Y("low:Q"), y2="high:Q", opacity=faded_unless([shown], 0.22))
    line = base.mark_line(strokeWidth=1.8, **broken).encode(y=y, opacity=faded_unless([shown], 1))
    said = [
        alt.Tooltip("color:N", title="index i"),
        *([alt.Tooltip("facet:N", title="panel")] if keys else []),
        alt.Tooltip("x:Q", title="step + 1", format=","),
        *(alt.Tooltip(f"{name}:Q", title=name, format=".6~g") for name in ("median", "low", "high")),
    ]
    points = under_the_pointer(base.encode(y=y), said, frame.height, ["facet"])
    layers = (band.add_params(zooming(), shown), line, points)
    chart = alt.layer(*layers, data=alt.Data(values=frame.to_dicts()))
    chart = chart.properties(width=place.width, height=place.height)
    says = behind(counts, pooling, "band from least to largest")
    subtitle = f"layer {layer}, median of {says}; square roots of AGOP eigenvalues"
    whole = panels(chart, facets, place.columns, place.width)
    return styled(whole, title or "Spectrum", subtitle, place.line).properties(
        usermeta=followed(
            every, keys, [told(every, keys, "facet", order).labels], {"index i": "color", "panel": "facet"}
        )
    )


def _lines(name: str, table: pl.DataFrame, keys: Sequence[str], order: ValueOrder) -> pl.DataFrame:
    """One index: rows to draw; what is zero or undefined stays null, so that the line breaks there."""
    parts = {part: pl.col(f"{name}_{part}") for part in ("median", "min", "max")}
    median, low, high = (pl.when(value > 0).then(value) for value in parts.values())
    return table.select(
        (pl.col("step") + 1).alias("x"),
        median.alias("median"),
        low.alias("low"),
        high.alias("high"),
        pl.lit(name.partition("@")[2]).alias("color"),
        told(table, keys, "facet", order).labels,
    ).sort("x")
