"""What all figures share: labels, colours in order, grounds, files.

Colours are viridis, which is ordered in lightness and safe for colour-blind readers and for print: on white without
its light end, on a dark ground without its dark one.
"""

import json
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
_METRICS = {
    "alignment": "alignment cos(W^T W, G^(1/(L−l+1)))",
    "alignment_half": "alignment cos(W^T W, G^1/2)",
    "alignment_one": "alignment cos(W^T W, G)",
    "best_alignment": "best alignment, sup over exponents",
    "best_exponent": "best exponent (dimensionless)",
    "residual": "residual |W^T W − G^(1/(L−l+1))| / |W^T W|",
    "imbalance": "imbalance |D| (weight²)",
    "imbalance_relative": "relative imbalance (dimensionless)",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "relative_loss": "loss / loss of the zero function",
}
_STOPS = ("#482878", "#3e4f8a", "#31688e", "#26828e", "#1f9e89", "#35b779", "#8fbe2d")
_GREY = "#767676"
_SOFT, _FRAME, _GRID = "#555555", "#bbbbbb", "#e8e8e8"
_INK_ON_DARK, _GROUND_DARK = "#e6e8eb", "#15181c"
_ON_DARK = dict(zip(_STOPS, ("#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"), strict=True))
_ON_DARK |= {_SOFT: "#a9b1bc", _FRAME: "#4a525d", _GRID: "#2a3038", _GREY: "#8f97a3"}
POWERS = "datum.value === 1 ? '1' : replace(datum.label, 'e+', 'e')"
"""Labels of a logarithmic axis: 1e2, 1, 1e-2."""


def label(path: str) -> str:
    """A setting's name on an axis or a legend."""
    return _LABELS.get(path, path)


def metric_label(metric: str) -> str:
    """A metric's name on an axis, with its unit or exponent where it has one."""
    return _METRICS.get(metric, metric.replace("_", " "))


def shown(value: Any) -> str:
    """A setting's value in a legend."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def named(column: str, name: str) -> pl.Expr:
    """A column of values as words, under another name."""
    return pl.col(column).map_elements(shown, return_dtype=pl.String, skip_nulls=False).alias(name)


def ordered(values: pl.Series) -> list[str]:
    """Distinct labels, by the number in them where there is one."""

    def key(text: str) -> tuple[int, float, str]:
        try:
            return 0, float(text.rpartition(" ")[2]), text
        except ValueError:
            return 1, 0.0, text

    return sorted(values.unique().to_list(), key=key)


def hues(count: int) -> list[str]:
    """Evenly spread colours, one for each of so many values."""
    if count == 1:
        return [_STOPS[2]]
    return [_STOPS[round(place * (len(_STOPS) - 1) / (count - 1))] for place in range(count)]


def hue(frame: pl.DataFrame, title: str) -> Any:
    """Colour by the column `color`, in the order of its values, also in the legend."""
    order = ordered(frame["color"])
    scale = alt.Scale(domain=order, range=hues(len(order)))
    legend = alt.Legend(symbolType="stroke", symbolOpacity=1, labelLimit=220, titleLimit=220) if title else None
    return alt.Color("color:N", title=title, sort=order, scale=scale, legend=legend)


def panels(chart: Any, frame: pl.DataFrame, columns: int = 3) -> Any:
    """A panel for every value of the column `facet`, or the chart itself where there is only one without a name."""
    order = ordered(frame["facet"])
    if order == [""]:
        return chart
    header = alt.Header(title=None, labelFontSize=12, labelFontWeight="bold", labelLimit=240)
    return chart.facet(facet=alt.Facet("facet:N", sort=order, header=header), columns=columns)


def styled(chart: Any, title: str, subtitle: str) -> Any:
    """The whole figure with its title, on a white ground that prints."""
    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", offset=12, fontSize=14, subtitleColor=_SOFT)
    return (
        chart.properties(title=heading)
        .configure(background="white", font="sans-serif")
        .configure_view(stroke=_FRAME)
        .configure_axis(gridColor=_GRID, labelFontSize=11, titleFontSize=11, titleFontWeight=500, labelOverlap=True)
        .configure_legend(labelFontSize=11, titleFontSize=12, symbolStrokeWidth=3)
    )


def dark(chart: Any) -> Any:
    """The same figure on a dark ground: for screens at night, and slides."""
    text = json.dumps(chart.to_dict())
    for on_white, on_dark in _ON_DARK.items():
        text = text.replace(f'"{on_white}"', f'"{on_dark}"')
    spec = json.loads(text)
    inks: dict[str, list[str]] = {
        "title": ["color"],
        "axis": ["labelColor", "titleColor", "tickColor", "domainColor"],
        "legend": ["labelColor", "titleColor"],
        "header": ["labelColor", "titleColor"],
    }
    for part, names in inks.items():
        spec["config"][part] = {**spec["config"].get(part, {}), **dict.fromkeys(names, _INK_ON_DARK)}
    spec["config"]["background"] = _GROUND_DARK
    return type(chart).from_dict(spec)


def rule_color() -> str:
    """A grey that stands off white and black alike."""
    return _GREY


def seeds(counts: pl.Series) -> str:
    """How many trials are behind every point, as in "10 seeds" or "3 to 10 seeds"."""
    numbers = counts.drop_nulls().filter(counts.drop_nulls() > 0)
    low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)  # ty: ignore[invalid-argument-type]
    word = "seed" if high == 1 else "seeds"
    return f"{high} {word}" if low == high else f"{low} to {high} {word}"


def save(chart: Any, file: str | Path) -> Path:
    """Write a figure; the file's ending says how.

    Raises:
        ValueError: for an ending that is not drawn.
    """
    path = Path(file)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path.name}: figures are drawn as {', '.join(FORMATS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # a picture of dots is drawn at twice the size; the others have no dots
    chart.save(str(path), **({"scale_factor": 2.0} if path.suffix == ".png" else {}))
    return path
