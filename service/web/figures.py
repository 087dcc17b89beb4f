"""The one definition of every figure: the web page, the command line and notebooks draw the same chart.

Colours are viridis, which is ordered in lightness and safe for colour-blind readers and for print. A line is drawn
through measured steps only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

FORMATS = (".png", ".svg", ".pdf", ".html", ".json")
_LABELS = {
    "training.weight_decay": "weight decay λ",
    "network.depth": "depth L",
    "network.width": "width",
    "training.learning_rate": "learning rate",
    "training.optimizer": "optimiser",
    "init.scheme": "initialisation",
}


def label(path: str) -> str:
    """A setting's name on an axis or a legend."""
    return _LABELS.get(path, path)


def alignment_curves(
    curves: pl.DataFrame, *, color: str, facet: str | None = None, complement: bool = False, title: str = ""
) -> alt.TopLevelMixin:
    """Alignment of layer 1 against step: median over seeds, band from the least to the largest, one line per colour.

    Args:
        curves: columns step, alignment_median, alignment_min, alignment_max, alignment_count, and the settings.
        color: path of the setting told apart by colour.
        facet: path of the setting told apart by panel.
        complement: draw 1 - alignment on a logarithmic axis instead, where the ansatz holds at 0.
        title: of the whole figure.
    """
    frame = _prepared(curves, color, facet, complement)
    y_title = "1 − alignment" if complement else "alignment cos(WᵀW, G^1/L)"
    scale = alt.Scale(type="log") if complement else alt.Scale(domain=[0, 1.02], nice=False)
    y = alt.Y("median:Q", title=y_title, scale=scale, axis=alt.Axis(format=".0e" if complement else ".1f", tickCount=6))
    step = alt.X(
        "shown_step:Q",
        title="step + 1",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format="~s", values=[10**power for power in range(10)]),
    )
    order = _ordered(frame["color"])
    hue = alt.Color(
        "color:N",
        title=label(color),
        sort=order,
        scale=alt.Scale(domain=order, range=_hues(len(order))),
        legend=alt.Legend(symbolType="stroke", symbolOpacity=1),
    )
    base: Any = alt.Chart().encode(x=step, color=hue)
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=y_title), y2="high:Q")
    line = base.mark_line(strokeWidth=1.8).encode(y=y)
    layers = [band, line]
    if not complement:
        rule: Any = alt.Chart().mark_rule(strokeDash=[4, 3], color="#555")
        layers.append(rule.encode(y=alt.datum(1.0)))
    panel = alt.layer(*layers, data=alt.Data(values=frame.to_dicts())).properties(width=250, height=220)
    chart: Any = panel
    if facet is not None:
        header = alt.Header(title=None, labelFontSize=13, labelFontWeight="bold")
        chart = panel.facet(column=alt.Column("facet:N", sort=_ordered(frame["facet"]), header=header))
    return _styled(chart, title, _subtitle(curves, complement))


def save(chart: alt.TopLevelMixin, file: str | Path) -> Path:
    """Write a figure; the file's ending says how.

    Raises:
        ValueError: for an ending that is not drawn.
    """
    path = Path(file)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path.name}: figures are drawn as {', '.join(FORMATS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    chart.save(str(path), scale_factor=2.0)
    return path


def _prepared(curves: pl.DataFrame, color: str, facet: str | None, complement: bool) -> pl.DataFrame:
    """Rows that can be drawn: on logarithmic axes only positive numbers can."""
    median, low, high = pl.col("alignment_median"), pl.col("alignment_min"), pl.col("alignment_max")
    if complement:
        # below 1e-16 a cosine in float64 says nothing
        median, low, high = ((1 - part).clip(1e-16) for part in (median, high, low))
    frame = curves.select(
        (pl.col("step") + 1).alias("shown_step"),
        median.alias("median"),
        low.alias("low"),
        high.alias("high"),
        pl.col(color).map_elements(_shown, return_dtype=pl.String).alias("color"),
        (pl.col(facet) if facet else pl.lit(""))
        .map_elements(lambda value: f"{label(facet)} = {_shown(value)}" if facet else "", return_dtype=pl.String)
        .alias("facet"),
    )
    return frame.drop_nulls()


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _ordered(values: pl.Series) -> list[str]:
    """Distinct labels, by the number in them where there is one."""

    def key(text: str) -> tuple[int, float, str]:
        try:
            return 0, float(text.rpartition(" ")[2]), text
        except ValueError:
            return 1, 0.0, text

    return sorted(values.unique().to_list(), key=key)


def _hues(count: int) -> list[str]:
    """Evenly spread colours of viridis, without its pale end, which vanishes on white."""
    stops = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39"]
    if count == 1:
        return [stops[2]]
    return [stops[round(place * (len(stops) - 1) / (count - 1))] for place in range(count)] if count else []


def _subtitle(curves: pl.DataFrame, complement: bool) -> str:
    seeds = curves["alignment_count"].max()
    dashed = "" if complement else "; dashed: the ansatz holds exactly"
    return f"layer 1, median of {seeds} seeds, band from least to largest{dashed}"


def _styled(chart: Any, title: str, subtitle: str) -> alt.TopLevelMixin:
    lines: Sequence[str] = [subtitle]
    return (
        chart.properties(title=alt.TitleParams(title or "Alignment", subtitle=list(lines), anchor="start", offset=12))
        .configure(background="white", font="sans-serif")
        .configure_view(stroke="#bbb")
        .configure_axis(gridColor="#e8e8e8", labelFontSize=11, titleFontSize=12)
        .configure_legend(labelFontSize=11, titleFontSize=12, symbolStrokeWidth=3)
    )
