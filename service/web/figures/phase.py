"""Phase diagram: a metric over two settings, with how many trials each cell has."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from service.questions.number_format import number
from service.questions.pooling import Pooling
from service.web.figures.style import behind, label, metric_label, shown, styled


def phase_diagram(found: Mapping[str, Any], title: str = "", pooling: Pooling | None = None) -> Any:
    """Cells coloured by the metric, the value and the number of trials written in them; empty cells stay empty.

    Args:
        found: the answer of /phase: x, y, x_values, y_values, values, counts, metric, layer, reduce, agg.
        title: of the figure.
        pooling: what a cell stands for.
    """
    x_order, y_order = ([shown(value) for value in found[name]] for name in ("x_values", "y_values"))
    cells = [
        {
            "x": x,
            "y": y,
            "value": value,
            "text": _number(value),
            "count": f"n = {count}",
            "seeds": count,
        }
        for y, values, counts in zip(y_order, found["values"], found["counts"], strict=True)
        for x, value, count in zip(x_order, values, counts, strict=True)
        if value is not None
    ]
    size = {"width": max(180, 64 * len(x_order)), "height": max(120, 46 * len(y_order))}
    x = alt.X(
        "x:N", sort=x_order, title=label(found["x"]), scale=alt.Scale(domain=x_order), axis=alt.Axis(labelAngle=0)
    )
    y = alt.Y("y:N", sort=y_order[::-1], title=label(found["y"]), scale=alt.Scale(domain=y_order[::-1]))
    base: Any = alt.Chart().encode(x=x, y=y)
    scale = alt.Scale(scheme="viridis", zero=False, nice=False)
    legend = alt.Legend(title=[metric_label(found["metric"])], titleLimit=260, format="~g", gradientLength=140)
    fill = base.mark_rect().encode(color=alt.Color("value:Q", scale=scale, legend=legend))
    middle = _middle([value for line in found["values"] for value in line if value is not None])
    ink = alt.condition(f"datum.value > {middle}", alt.value("black"), alt.value("white"))
    value = base.mark_text(fontSize=12, dy=-7).encode(text="text:N", color=ink)
    count = base.mark_text(fontSize=10, dy=8).encode(text="count:N", color=ink)
    chart = alt.layer(fill, value, count, data=alt.Data(values=cells)).properties(**size)
    says = behind(pl.Series([cell["seeds"] for cell in cells], dtype=pl.Int64), pooling, "")
    subtitle = f"layer {found['layer']}, {found['agg']} of the {found['reduce']} value over, in a cell, {says}"
    return styled(chart, title or metric_label(found["metric"]), subtitle)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if abs(value) < 0.99 else number(float(f"{value:.5g}") if value < 0.9999 else value)


def _middle(values: list[float]) -> float:
    return (min(values) + max(values)) / 2 if values else 0.0
