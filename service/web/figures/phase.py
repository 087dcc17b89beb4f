"""Phase diagram: a metric over two settings, with how many trials each cell has."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt
import polars as pl

from service.questions.number_format import number
from service.questions.pooling import Pooling
from service.questions.tables import column
from service.web.figures.following import followed
from service.web.figures.hand import PICKED
from service.web.figures.layout import PRINTED, Layout, layout
from service.web.figures.style import behind, label, metric_label, shown, styled
from service.web.figures.variables import word_axis

_LETTER: Final = 0.52
"""Width of a letter, of its height."""
_MARGIN: Final = 4


def phase_diagram(
    found: Mapping[str, Any], title: str = "", pooling: Pooling | None = None, room: int = PRINTED
) -> Any:
    """Cells coloured by the metric, the value and the number of trials written in them; empty cells stay empty.

    Args:
        found: the answer of /phase: x, y, x_values, y_values, values, counts, metric, layer, reduce, agg.
        title: of the figure.
        pooling: what a cell stands for.
        room: width in pixels that the figure may take.
    """
    x_order, y_order = ([shown(value) for value in found[name]] for name in ("x_values", "y_values"))
    place = layout(room, 1)
    size = {"width": max(180, 64 * len(x_order)), "height": max(120, 46 * len(y_order))}
    size["width"] = min(place.width, 150 * len(x_order)) if room else size["width"]
    cells, letters = _fitted(_cells(found, x_order, y_order), size["width"] / max(1, len(x_order)))
    axis = alt.Axis(**word_axis(x_order, size["width"]))
    x = alt.X("x:N", sort=x_order, title=label(found["x"]), scale=alt.Scale(domain=x_order), axis=axis)
    y = alt.Y("y:N", sort=y_order[::-1], title=label(found["y"]), scale=alt.Scale(domain=y_order[::-1]))
    base: Any = alt.Chart().encode(x=x, y=y)
    scale = alt.Scale(scheme="viridis", zero=False, nice=False)
    said = [
        alt.Tooltip("x:N", title=label(found["x"])),
        alt.Tooltip("y:N", title=label(found["y"])),
        alt.Tooltip("value:Q", title=metric_label(found["metric"]), format=".6~g"),
        alt.Tooltip("seeds:Q", title="trials"),
    ]
    picked = alt.selection_point(name=PICKED, fields=["x", "y"], on="click", clear=False, toggle=False, empty=False)
    fill = base.mark_rect(cursor="pointer").encode(
        color=alt.Color("value:Q", scale=scale, legend=_legend(found["metric"], place)), tooltip=said
    )
    middle = _middle([value for line in found["values"] for value in line if value is not None])
    ink = alt.condition(f"datum.value > {middle}", alt.value("black"), alt.value("white"))
    value = base.mark_text(fontSize=letters, dy=-7).encode(text="text:N", color=ink)
    count = base.mark_text(fontSize=10, dy=8).encode(text="count:N", color=ink)
    texts = (value, count) if letters else ()
    chart = alt.layer(fill.add_params(picked), *texts, data=alt.Data(values=cells)).properties(**size)
    says = behind(pl.Series([cell["seeds"] for cell in cells], dtype=pl.Int64), pooling, "")
    subtitle = f"layer {found['layer']}, {found['agg']} of the {found['reduce']} value; in a cell {says}"
    return styled(chart, title or metric_label(found["metric"]), subtitle, place.line).properties(
        usermeta=_followed(found, x_order, y_order)
    )


def _legend(metric: str, place: Layout) -> Any:
    """The ramp of colours, its title in two lines where one is too long."""
    title = metric_label(metric)
    looks: dict[str, Any] = {}
    if place.legend_below:
        looks = {"orient": "bottom", "direction": "horizontal"}
    lines = title.split(" ", 1) if place.legend_below and 7 * len(title) > place.width else [title]
    limit = max(120, place.width) if place.legend_below else 260
    length = min(140, place.width)
    return alt.Legend(title=lines, titleLimit=limit, titlePadding=8, format="~g", gradientLength=length, **looks)


def _fitted(cells: list[dict[str, Any]], width: float) -> tuple[list[dict[str, Any]], int]:
    """Cells whose texts fit into their width in pixels, with the height of the letters; 0 where none would fit."""
    brief = [cell | {"text": _brief(cell["text"])} for cell in cells]
    for told, letters in ((cells, 12), (cells, 10), (brief, 10)):
        widths = (_LETTER * max(letters * len(cell["text"]), 10 * len(cell["count"])) for cell in told)
        if max(widths, default=0.0) + _MARGIN <= width:
            return told, letters
    return cells, 0


def _brief(text: str) -> str:
    """How far a value is from one, by one digit."""
    head, is_near_one, distance = text.partition("1-")
    return f"1-{float(distance):.0e}" if is_near_one and not head else text


def _cells(found: Mapping[str, Any], x_order: Sequence[str], y_order: Sequence[str]) -> list[dict[str, Any]]:
    """What is written in each cell that has a value."""
    return [
        {"x": x, "y": y, "value": value, "text": _number(value), "count": f"n = {count}", "seeds": count}
        for y, values, counts in zip(y_order, found["values"], found["counts"], strict=True)
        for x, value, count in zip(x_order, values, counts, strict=True)
        if value is not None
    ]


def _followed(found: Mapping[str, Any], x_order: Sequence[str], y_order: Sequence[str]) -> Any:
    """Where a click on a cell leads: the settings behind the labels of every cell."""
    pairs = list(itertools.product(found["x_values"], found["y_values"]))
    at = pl.DataFrame(
        [column(found["x"], [value for value, _ in pairs]), column(found["y"], [value for _, value in pairs])]
    )
    shown_pairs = list(itertools.product(x_order, y_order))
    labels = [
        pl.Series("x", [x for x, _ in shown_pairs], dtype=pl.String),
        pl.Series("y", [y for _, y in shown_pairs], dtype=pl.String),
    ]
    return followed(at, [found["x"], found["y"]], labels)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if abs(value) < 0.99 else number(float(f"{value:.5g}") if value < 0.9999 else value)


def _middle(values: list[float]) -> float:
    return (min(values) + max(values)) / 2 if values else 0.0
