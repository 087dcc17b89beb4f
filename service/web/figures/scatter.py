"""Trials as points: any setting or final value against any other."""

from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.web.figures.following import followed
from service.web.figures.hand import PICKED, brushing, faded_unless, shown_by_legend
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import UNWRITTEN, hue, label, panels, styled, told
from service.web.figures.variables import Variable

MOST_POINTS: Final = 8_000
_MOST_COLORS: Final = 16


def scatter(
    table: pl.DataFrame,
    x: Variable,
    y: Variable,
    *,
    color: str | None,
    facets: Sequence[str] = (),
    keys: Sequence[str] = (),
    title: str = "",
    order: ValueOrder = UNWRITTEN,
    room: int = PRINTED,
) -> Any:
    """One point per completed trial that has both values.

    Args:
        table: settings of the trials, a row for each.
        x: along the horizontal axis, in the table's order.
        y: along the vertical one.
        color: path told apart by colour; None for one colour.
        facets: paths told apart by panel.
        keys: paths by which a point is told and followed, color and facets among them.
        title: of the figure.
        order: of settings' values.
        room: width in pixels that the figure may take.
    """
    colors, panel = (told(table, [color] if color else [], "color", order), told(table, facets, "facet", order))
    settings = {f"s{place}": told(table, [path], "label", order).labels for place, path in enumerate(keys)}
    columns = [x.values.alias("x"), y.values.alias("y"), colors.labels, panel.labels]
    frame = pl.DataFrame([*columns, *(labels.alias(name) for name, labels in settings.items())])
    has_both = frame["x"].is_not_null() & frame["y"].is_not_null()
    frame, without = frame.filter(has_both), int((~has_both).sum())
    every = max(1, -(-frame.height // MOST_POINTS))
    drawn = frame.gather_every(every).with_columns(pl.col(pl.Float64).round_sig_figs(7))
    place, shown = layout(room, len(panel.order)), shown_by_legend("color")
    said = [alt.Tooltip(f"s{at}:N", title=label(path)) for at, path in enumerate(keys)]
    for field, one in (("x", x), ("y", y)):
        if one.path not in keys:
            said.append(one.told(field))
    picked = alt.selection_point(name=PICKED, fields=list(settings), on="click", clear=False, toggle=False, empty=False)
    has_legend = color is not None and len(colors.order) <= _MOST_COLORS
    paint = hue(
        colors.order, label(color) if color and has_legend else "", is_below=place.legend_below, symbol="circle"
    )
    base: Any = alt.Chart(alt.Data(values=drawn.to_dicts()))
    point = base.mark_point(filled=True, size=34, cursor="pointer", clip=True).encode(
        x=x.along(alt.X, "x", place.width),
        y=y.along(alt.Y, "y"),
        color=paint,
        tooltip=said,
        opacity=faded_unless([shown], 0.75),
    )
    hands = [*brushing(is_zoomed=x.is_number and y.is_number), shown, picked]
    chart = point.properties(width=place.width, height=place.height).add_params(*hands)
    says = f"a point is a trial, {drawn.height} of {table.height}"
    says += f"; every {every}th is drawn" if every > 1 else ""
    says += f"; {without} without a value left out" if without else ""
    brush = {"x": x.brushed("x"), "y": y.brushed("y")}
    links = followed(table, keys, list(settings.values()), None, list(settings), brush)
    whole = panels(chart, panel.order, place.columns, place.width)
    return styled(whole, title or "Trials", says, place.line).properties(usermeta=links)
