"""What stands along an axis of a figure of trials: a setting or a final value, numbers or words in order. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.filters import split_final
from service.web.figures.curves import LOGARITHMIC
from service.web.figures.style import POWERS, UNWRITTEN, label, told

_LETTER: Final = 6.2
"""Pixels of a letter of a label."""
_LINE: Final = 13
"""And of a label that is slanted, from the one before."""
_DECADES: Final = 20.0
"""Settings whose largest value is so many times the least are drawn on a logarithmic axis."""


def word_axis(words: Sequence[str], width: int) -> dict[str, Any]:
    """How words stand below an axis so that all are read: side by side, else slanted; some only where none fit so.

    Args:
        words: labels, each in its place.
        width: of the axis, in pixels.
    """
    place = width / max(1, len(words))
    if place >= max((len(word) * _LETTER + 6 for word in words), default=0):
        return {"labelAngle": 0, "labelOverlap": False}
    return {"labelAngle": -40, "labelAlign": "right", "labelOverlap": place < _LINE}


@dataclass(frozen=True)
class Variable:
    """A column of trials, and how it is drawn."""

    path: str
    """As in `where`; empty for what no filter names."""
    title: str | list[str]
    values: pl.Series
    """Numbers, or labels of words."""
    words: tuple[str, ...]
    """Labels in order; none for numbers."""
    is_log: bool
    literals: Mapping[str, str]
    """Label -> the word as it stands in `where`."""

    @property
    def name(self) -> str:
        """The title in one line."""
        return self.title if isinstance(self.title, str) else " ".join(self.title)

    @property
    def is_number(self) -> bool:
        """Whether it has a size."""
        return not self.words

    def along(self, channel: Any, field: str, width: int = 0) -> Any:
        """As a channel of Altair (alt.X, alt.Y) by a field; horizontal axes have a width in pixels."""
        if not self.is_number:
            axis = alt.Axis(**(word_axis(self.words, width) if width else {"labelAngle": 0}))
            return channel(f"{field}:N", title=self.title, sort=list(self.words), axis=axis)
        scale = alt.Scale(type="log", nice=False, padding=6) if self.is_log else alt.Scale(zero=False, padding=6)
        return channel(f"{field}:Q", title=self.title, scale=scale, axis=self.axis())

    def told(self, field: str) -> Any:
        """As a line of a tooltip."""
        if not self.is_number:
            return alt.Tooltip(f"{field}:N", title=self.name)
        return alt.Tooltip(f"{field}:Q", title=self.name, format=".6~g")

    def axis(self) -> Any:
        """Ticks and labels of numbers."""
        is_setting = self.path != "" and not self.path.startswith("final.")
        if self.is_log and not is_setting:
            return alt.Axis(format="~e", labelExpr=POWERS, tickCount=6)
        return alt.Axis(format="~g", tickCount=6)

    def brushed(self, field: str) -> dict[str, Any]:
        """What a page needs to say a marked range as a filter."""
        said: dict[str, Any] = {"field": field, "path": self.path}
        return said | ({"words": dict(self.literals)} if self.words else {})


def variable(path: str, values: pl.Series, order: ValueOrder = UNWRITTEN) -> Variable:
    """A column of trials.

    Args:
        path: of a setting, seed, or final.METRIC[layer].
        values: a value for each trial; what is no number on a logarithmic axis becomes null.
        order: of words.
    """
    final = split_final(path)
    if final is not None or (values.dtype.is_numeric() and path != "seed"):
        numbers = values.cast(pl.Float64)
        is_log = final[0] in LOGARITHMIC if final else _spans_decades(numbers)
        if is_log:
            numbers = pl.select(pl.when(numbers > 0).then(numbers)).to_series()
        title = label(path) if final is None else _final_title(*final)
        return Variable(path, title, numbers, (), is_log, {})
    labels = told(pl.DataFrame({path: values}), [path], "word", order)
    pairs = zip(labels.labels.to_list(), values.to_list(), strict=True)
    return Variable(
        path, label(path), labels.labels, tuple(labels.order), False, {one: _literal(v) for one, v in pairs}
    )


def _final_title(metric: str, layer: int | str | None) -> str:
    return f"{metric.replace('_', ' ')}{'' if layer is None else f', layer {layer}'}"


def _spans_decades(numbers: pl.Series) -> bool:
    least, largest = numbers.min(), numbers.max()
    if not isinstance(least, float) or not isinstance(largest, float):
        return False
    return least > 0 and math.isfinite(largest) and largest / least >= _DECADES


def _literal(value: Any) -> str:
    return "null" if value is None else json.dumps(value)
