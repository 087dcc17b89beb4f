"""What all figures share: labels, colours in order, grounds, files.

Colours are viridis, which is ordered in lightness and safe for colour-blind readers and for print: on white without
its light end, on a dark ground without its dark one.
"""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.pooling import Pooling, Range
from service.web.figures.hand import untouched

FORMATS = (".png", ".svg", ".pdf", ".html", ".json")
_LABELS = {
    "experiment": "experiment",
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
    "sharpness": "sharpness (loss / weight²)",
    "relative_loss": "loss / loss of the zero function",
}
_LINE = 120
_DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [14, 4])
_STOPS = ("#482878", "#3e4f8a", "#31688e", "#26828e", "#1f9e89", "#35b779", "#8fbe2d")
_GREY = "#767676"
_SOFT, _FRAME, _GRID = "#555555", "#bbbbbb", "#e8e8e8"
HALO: Final = "#ffffff"
"""Around words that stand on lines: the colour of the ground."""
_INK_ON_DARK, _GROUND_DARK = "#e6e8eb", "#15181c"
_ON_DARK = dict(zip(_STOPS, ("#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"), strict=True))
_ON_DARK |= {HALO: _GROUND_DARK, _SOFT: "#a9b1bc", _FRAME: "#4a525d", _GRID: "#2a3038", _GREY: "#8f97a3"}
POWERS = "datum.value === 1 ? '1' : replace(datum.label, 'e+', 'e')"
"""Labels of a logarithmic axis: 1e2, 1, 1e-2."""


def label(path: str) -> str:
    """A setting's name on an axis or a legend."""
    return _LABELS.get(path, path.rpartition(".")[2].replace("_", " "))


def metric_label(metric: str) -> str:
    """A metric's name on an axis, with its unit or exponent where it has one."""
    return _METRICS.get(metric, metric.replace("_", " "))


def shown(value: Any) -> str:
    """A setting's value in a legend."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        # a comma would part what stands in one panel's head
        return f"[{' '.join(map(shown, value))}]"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


UNWRITTEN: Final = ValueOrder(lambda: [])
"""The order of values of no grid: numbers by size, words by the alphabet."""


class Told(NamedTuple):
    """What tells rows apart: a label for each row, and the labels in order."""

    labels: pl.Series
    order: list[str]


def told(table: pl.DataFrame, paths: Sequence[str], name: str, order: ValueOrder = UNWRITTEN) -> Told:
    """The values of settings as labels, those of several as in "depth L = 2, activation = tanh".

    Args:
        table: has a column for each path.
        paths: of the settings; without any, every row has the same empty label.
        name: of the column of labels; `facet` names the settings in them.
        order: of the values.
    """
    if not paths:
        return Told(pl.Series(name, [""] * table.height, dtype=pl.String), [""])
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        values = order.sorted(path, map(_meant, table[path].unique().to_list()))
        short = [shown(value) for value in values]
        # what rounding would make the same is written in full
        texts = [text if short.count(text) == 1 else str(value) for text, value in zip(short, values, strict=True)]
        prefix = f"{label(path)} = " if name == "facet" else ""
        found[path] = {repr(value): f"{prefix}{text}" for value, text in zip(values, texts, strict=True)}
    places = {path: {key: place for place, key in enumerate(labels)} for path, labels in found.items()}
    keys = [tuple(repr(_meant(value)) for value in row) for row in table.select(paths).iter_rows()]
    labels = {key: ", ".join(found[path][part] for path, part in zip(paths, key, strict=True)) for key in set(keys)}
    in_order = sorted(labels, key=lambda key: [places[path][part] for path, part in zip(paths, key, strict=True)])
    return Told(pl.Series(name, [labels[key] for key in keys], dtype=pl.String), [labels[key] for key in in_order])


def _meant(value: Any) -> Any:
    """A list or a number that stands as text in a column of mixed kinds."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def hues(count: int) -> list[str]:
    """Evenly spread colours, one for each of so many values."""
    if count == 1:
        return [_STOPS[2]]
    return [_STOPS[round(place * (len(_STOPS) - 1) / (count - 1))] for place in range(count)]


def hue(order: Sequence[str], title: str, *, is_below: bool = False, symbol: str = "stroke") -> Any:
    """Colour by the column `color`, in the order of its values, also in the legend, whose entries are strokes."""
    order = list(order)
    scale = alt.Scale(domain=order, range=hues(len(order)))
    looks: dict[str, Any] = {
        "symbolType": symbol,
        "symbolOpacity": 1,
        "labelLimit": 220,
        "titleLimit": 220,
        **_place(is_below),
    }
    legend = alt.Legend(**looks) if title else None
    return alt.Color("color:N", title=title, sort=order, scale=scale, legend=legend)


def _place(is_below: bool) -> dict[str, Any]:
    """Where a legend stands: at the side, or below where there is no room."""
    return {"orient": "bottom", "direction": "horizontal", "columns": 4} if is_below else {}


def dashes(order: Sequence[str], title: str, *, is_below: bool = False) -> Any:
    """Patterns of dashes by the column `dash`, the first one unbroken."""
    patterns = [_DASHES[place % len(_DASHES)] for place in range(len(order))]
    looks: dict[str, Any] = {"symbolType": "stroke", "symbolOpacity": 1, "symbolStrokeColor": _GREY, "labelLimit": 220}
    legend = alt.Legend(**looks, titleLimit=220, **_place(is_below))
    return alt.StrokeDash(
        "dash:N", title=title, sort=list(order), scale=alt.Scale(domain=list(order), range=patterns), legend=legend
    )


def panels(chart: Any, order: Sequence[str], columns: int = 3, width: int = 240) -> Any:
    """A panel for every value of the column `facet`, or the chart itself where there is only one without a name."""
    order = list(order)
    if order == [""]:
        return chart
    looks: dict[str, Any] = {"labelFontSize": 12, "labelFontWeight": "bold", "labelLimit": width}
    if any(", " in name and 7 * len(name) > width for name in order):
        looks["labelExpr"] = "split(datum.label, ', ')"
    header = alt.Header(title=None, **looks)
    return chart.facet(facet=alt.Facet("facet:N", sort=order, header=header), columns=columns, spacing=22)


def panels_in_rows(chart: Any, rows: Sequence[str], columns: Sequence[str], width: int = 240) -> Any:
    """A panel for every pair of values of the columns `row` and `column`, the first from the top down."""
    looks: dict[str, Any] = {"title": None, "labelFontSize": 12, "labelFontWeight": "bold"}
    if any(7 * len(name) > width for name in columns):
        looks |= {"labelExpr": "split(datum.label, ' = ')", "labelFontSize": 10, "labelLimit": width + 12}
    return chart.facet(
        row=alt.Row("row:N", sort=list(rows), header=alt.Header(**looks)),
        column=alt.Column("column:N", sort=list(columns), header=alt.Header(**looks)),
        spacing=14,
    )


def styled(chart: Any, title: str, subtitle: str, line: int = _LINE) -> Any:
    """The whole figure with its title, in lines of so many characters, on a white ground that prints."""
    heading = alt.TitleParams(
        _wrapped(title, int(0.8 * line)),
        subtitle=_in_lines(subtitle, line),
        anchor="start",
        offset=12,
        fontSize=14,
        subtitleColor=_SOFT,
    )
    return (
        chart.properties(title=heading)
        .configure(background="white", font="sans-serif")
        .configure_view(stroke=_FRAME)
        .configure_axis(gridColor=_GRID, labelFontSize=11, titleFontSize=11, titleFontWeight=500, labelOverlap=True)
        .configure_legend(labelFontSize=11, titleFontSize=12, symbolStrokeWidth=3)
    )


def _in_lines(text: str, most: int) -> str | list[str]:
    """A long subtitle in lines that end where a part of it does; one part is broken only where it alone is too long."""
    if len(text) <= most:
        return text
    lines: list[str] = []
    for part in text.split("; "):
        if lines and (len(lines[-1]) + len(part) + 2 <= most or (part.startswith("pooled over") and most >= _LINE)):
            lines[-1] += f"; {part}"
        else:
            lines[-1:] = [f"{lines[-1]};"] if lines else []
            lines.append(part)
    found = [short for line in lines for short in (textwrap.wrap(line, most) if most < _LINE else [line])]
    return found if len(found) > 1 else text


def _wrapped(text: str, most: int) -> str | list[str]:
    """A title in lines of so many characters."""
    lines = textwrap.wrap(text, most)
    return lines if len(lines) > 1 and most < _LINE * 0.8 else text


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


def soft_color() -> str:
    """Of words that are not the first to be read."""
    return _SOFT


def behind(counts: pl.Series, pooling: Pooling | None, band: str) -> str:
    """What is behind every point, and what its band is: "3 to 10 seeds, band ..", or of what pools settings
    "60 trials: 5 seeds x 12 settings; pooled over depth; band ..". Where nobody says what was pooled, they are trials.
    """
    numbers = [int(number) for number in counts.drop_nulls().to_list() if number > 0]
    counted = Range(min(numbers, default=0), max(numbers, default=0))
    says = counted.counted("trial") if pooling is None else pooling.says(counted)
    return f"{says}{';' if '; ' in says else ','} {band}" if band else says


def save(chart: Any, file: str | Path) -> Path:
    """Write a figure; the file's ending says how.

    Raises:
        ValueError: for an ending that is not drawn.
    """
    path = Path(file)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path.name}: figures are drawn as {', '.join(FORMATS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix not in (".html", ".json"):
        chart = type(chart).from_dict(untouched(chart.to_dict(validate=False)), validate=False)
    # a picture of dots is drawn at twice the size; the others have no dots
    chart.save(str(path), **({"scale_factor": 2.0} if path.suffix == ".png" else {}))
    return path
