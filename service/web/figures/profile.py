"""Alignment against the exponent of the AGOP: where it is highest, and how flat the top is."""

from typing import Any, Final

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.pooling import Pooling
from service.web.figures.following import followed
from service.web.figures.hand import faded_unless, shown_by_legend, under_the_pointer, zooming
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import UNWRITTEN, behind, dashes, hue, label, panels, rule_color, styled, told

_Y_TITLE: Final = "alignment cos(W^T W, G^a)"


def exponent_profile(
    results: pl.DataFrame,
    *,
    color: str,
    facet: str | None = None,
    title: str = "",
    layer: int | str = 1,
    has_theory: bool = True,
    dash: str | None = None,
    pooling: Pooling | None = None,
    order: ValueOrder = UNWRITTEN,
    room: int = PRINTED,
) -> Any:
    """Final alignment at every recorded exponent, a line per colour.

    Args:
        results: columns alignment@A_median and alignment@A_count for each exponent A, and the settings.
        color: path of the setting told apart by colour.
        facet: paths of the settings told apart by panel, separated by commas.
        title: of the figure.
        layer: whose alignment, by number or name.
        has_theory: whether 1/(L - l + 1) is marked for layer l, with L each panel's own network.depth.
        dash: path of the setting told apart by dashes.
        pooling: what a point stands for.
        order: of the settings' values.
        room: width in pixels that the figure may take.
    """
    facets = facet.split(",") if facet else []
    hues, dash_told, panel = (
        told(results, paths, name, order)
        for paths, name in (([color], "color"), ([dash] if dash else [], "dash"), (facets, "facet"))
    )
    labelled = results.with_columns(hues.labels, dash_told.labels, panel.labels)
    names = [name for name in results.columns if name.startswith("alignment@") and name.endswith("_median")]
    frame = _points(labelled, names, layer if has_theory and isinstance(layer, int) else None)
    place = layout(room, len(panel.order), last=1, printed=(240, 200))
    is_marked = frame["theory"].null_count() < frame.height and color != "network.depth"
    base: Any = _axes(frame).encode(color=hue(hues.order, label(color), is_below=place.legend_below), detail="dash:N")
    dashed = dashes(dash_told.order, label(dash), is_below=place.legend_below) if dash else None
    layers = [*_lines(base, dashed), *([_theory()] if is_marked else [])]
    layers.append(under_the_pointer(base, _told(color, dash, facet), frame.height, ["color", "dash", "facet"]))
    chart = alt.layer(*layers, data=alt.Data(values=frame.to_dicts()))
    chart = chart.properties(width=place.width, height=place.height)
    counts = pl.concat([results[name.replace("_median", "_count")].cast(pl.Int64) for name in names])
    subtitle = f"layer {layer} at the end of training, median of {behind(counts, pooling, '')}"
    if is_marked:
        subtitle += "; dashed: 1/L" if layer == 1 else f"; dashed: 1/(L - l + 1) for l = {layer}"
    whole = panels(chart, panel.order, place.columns, place.width)
    keys = [path for path in (color, dash, *facets) if path]
    return styled(whole, title or "Alignment against exponent", subtitle, place.line).properties(
        usermeta=followed(results, keys, [hues.labels, dash_told.labels, panel.labels], _named(color, dash, facet))
    )


def _axes(frame: pl.DataFrame) -> Any:
    """A chart with the exponent against the alignment; the vertical axis begins below the lowest point."""
    low = frame["value"].min()
    floor = min(0.9, float(low)) - 0.02 if isinstance(low, float) else 0.0
    scale, axis = alt.Scale(domain=[floor, 1.005], nice=False), alt.Axis(format=".2f")
    x = alt.X("exponent:Q", title="exponent a (dimensionless)", scale=alt.Scale(zero=True))
    return alt.Chart().encode(x=x, y=alt.Y("value:Q", title=_Y_TITLE, scale=scale, axis=axis))


def _lines(base: Any, dashed: Any) -> list[Any]:
    """Lines and their points, which legends fade."""
    shown = [shown_by_legend("color"), *([] if dashed is None else [shown_by_legend("dash")])]
    line = base.mark_line(strokeWidth=1.8).encode(opacity=faded_unless(shown, 1))
    if dashed is not None:
        line = line.encode(strokeDash=dashed)
    dots = base.mark_point(filled=True, size=28).encode(opacity=faded_unless(shown, 1))
    return [line.add_params(zooming(), *shown), dots]


def _theory() -> Any:
    """A rule at the exponent of theory."""
    mark: Any = alt.Chart().mark_rule(strokeDash=[4, 3], color=rule_color())
    return mark.encode(x=alt.X("mean(theory):Q"))


def _told(color: str, dash: str | None, facet: str | None) -> list[alt.Tooltip]:
    """What the pointer shows."""
    named = [alt.Tooltip(f"{field}:N", title=title) for title, field in _named(color, dash, facet).items()]
    return [*named, alt.Tooltip("exponent:Q"), alt.Tooltip("value:Q", title=_Y_TITLE, format=".6~g")]


def _points(results: pl.DataFrame, names: list[str], layer: int | None) -> pl.DataFrame:
    """exponent, value, what tells points apart, and theory: 1/(L - layer + 1), null where there is none."""
    rows = []
    for row in results.to_dicts():
        depth = row.get("network.depth")
        has_layer = layer is not None and depth is not None and depth >= layer
        own = {part: row[part] for part in ("color", "dash", "facet")}
        own["theory"] = 1 / (depth - layer + 1) if has_layer else None
        for name in names:
            exponent = float(name.removeprefix("alignment@").removesuffix("_median"))
            rows.append({"exponent": exponent, "value": row[name]} | own)
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col("theory").cast(pl.Float64)).sort("exponent")


def _named(color: str, dash: str | None, facet: str | None) -> dict[str, str]:
    """How what tells points apart is called beside one -> its field."""
    return {label(color): "color"} | ({label(dash): "dash"} if dash else {}) | ({"panel": "facet"} if facet else {})
