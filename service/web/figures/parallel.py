"""Parallel coordinates: every axis of a sweep upright, a line per group of settings, coloured by its final value."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt
import polars as pl

from service.questions.pooling import Pooling
from service.web.figures.following import followed
from service.web.figures.hand import brushing, under_the_pointer
from service.web.figures.layout import PRINTED, Layout, layout
from service.web.figures.style import HALO, behind, rule_color, soft_color, styled, told
from service.web.figures.variables import Variable

MOST_LINES: Final = 1_500
_TICKS: Final = 6


def parallel(
    table: pl.DataFrame,
    variables: Sequence[Variable],
    counts: pl.Series,
    *,
    title: str = "",
    pooling: Pooling | None = None,
    room: int = PRINTED,
) -> Any:
    """A line per group; words stand evenly, numbers by size or by their logarithm.

    Args:
        table: settings of the groups, a row for each.
        variables: of the table's rows, from left to right; the last is the value by which lines are coloured.
        counts: trials behind every group.
        title: of the figure.
        pooling: what a line stands for.
        room: width in pixels that the figure may take.
    """
    axes, value = [_Axis(one) for one in variables], variables[-1]
    keys = list(dict.fromkeys(one.path for one in variables[:-1]))
    group = told(table, keys, "group").labels
    rows, every = _rows(axes, group.to_list(), counts)
    size = layout(room, 1)
    width = size.width if room else max(360, 130 * len(variables))
    titles = [one.name for one in variables]
    names = alt.Axis(labelAngle=0, domain=False, ticks=False, orient="top", labelLimit=max(60, width // len(titles)))
    x = alt.X("axis:N", sort=titles, title=None, axis=names)
    (rule, *words), (line, points) = _upright(axes, x), _lines(rows, x, value, width, size)
    # what answers the pointer lies above the words
    chart = alt.layer(rule, line, *words, points).properties(width=width, height=size.height if room else 260)
    says = f"a line is the median of {behind(counts, pooling, '')}"
    says += f"; every {every}th line is drawn" if every > 1 else ""
    brush = {"axes": {one.one.name: one.brushed() for one in axes}}
    links = followed(table, keys, [group], None, ["group"], brush)
    return styled(chart, title or "Settings and what comes of them", says, size.line).properties(usermeta=links)


def _rows(axes: Sequence["_Axis"], group: Sequence[str], counts: pl.Series) -> tuple[list[dict[str, Any]], int]:
    """A row for every place of a line on an axis, and of how many lines one is drawn."""
    places = [[axis.place(one) for one in axis.one.values.to_list()] for axis in axes]
    known = [at for at in range(len(group)) if all(place[at] is not None for place in places)]
    every, value = max(1, -(-len(known) // MOST_LINES)), axes[-1].one
    rows = [
        {"axis": axis.one.name, "place": place[line], "group": group[line], "here": _text(axis.one.values[line])}
        | {"value": value.values[line], "count": counts[line]}
        for line in known[::every]
        for axis, place in zip(axes, places, strict=True)
    ]
    return rows, every


def _lines(rows: Sequence[Mapping[str, Any]], x: Any, value: Variable, width: int, size: Layout) -> tuple[Any, Any]:
    """Lines coloured by a value, and the points by which they answer."""
    y = _y()
    scale = alt.Scale(scheme="viridis", type="log" if value.is_log else "linear", nice=False, zero=False)
    looks: dict[str, Any] = {"orient": "bottom", "direction": "horizontal"} if size.legend_below else {}
    legend = alt.Legend(
        type="gradient", format="~g", titleLimit=220, titlePadding=8, gradientLength=min(180, width // 2), **looks
    )
    paint = alt.Color("value:Q", title=value.name, scale=scale, legend=legend)
    base: Any = alt.Chart(alt.Data(values=[*rows])).encode(x=x)
    line = base.mark_line(strokeWidth=1.3, opacity=0.65).encode(y=y, color=paint, detail="group:N")
    said = [
        alt.Tooltip("group:N", title="group"),
        alt.Tooltip("here:N", title="here"),
        alt.Tooltip("value:Q", title=value.name, format=".6~g"),
        alt.Tooltip("count:Q", title="trials"),
    ]
    points = under_the_pointer(base.encode(y=y, color=alt.value(rule_color())), said, len(rows), ["group"])
    return line.add_params(*brushing()), points


def _upright(axes: Sequence["_Axis"], x: Any) -> tuple[Any, Any, Any]:
    """The axes as rules, and their values beside them, on a halo."""
    ticks = [{"axis": one.one.name, "place": at, "text": text} for one in axes for at, text in one.ticks()]
    upright: Any = alt.Chart(alt.Data(values=ticks)).encode(x=x)
    rule = (
        upright.mark_rule(color=rule_color())
        .transform_calculate(low="0", high="1")
        .encode(y=alt.Y("low:Q", axis=None), y2="high:Q")
    )
    words: dict[str, Any] = {"align": "left", "dx": 5, "fontSize": 11}
    halo = upright.mark_text(**words, color=HALO, stroke=HALO, strokeWidth=4).encode(y=_y(), text="text:N")
    return rule, halo, upright.mark_text(**words, color=soft_color()).encode(y=_y(), text="text:N")


def _y() -> Any:
    return alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.03, 1.03], nice=False))


class _Axis:
    """An upright axis: where its values stand, from 0 to 1."""

    def __init__(self, one: Variable) -> None:
        self.one = one
        known = one.values.drop_nulls().to_list() if one.is_number else []
        self.low, self.high = min(known, default=0.0), max(known, default=1.0)

    def place(self, value: Any) -> float | None:
        """Of a value; None where there is none."""
        if value is None:
            return None
        if not self.one.is_number:
            return _even(self.one.words.index(value), len(self.one.words))
        low, high, at = (math.log(x) if self.one.is_log else x for x in (self.low, self.high, value))
        return 0.5 if low == high else (at - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Every value where there are few, else numbers at even distances."""
        if not self.one.is_number:
            return [(_even(at, len(self.one.words)), word) for at, word in enumerate(self.one.words)]
        values = sorted(self.one.values.drop_nulls().unique().to_list())
        if len(values) > _TICKS:
            steps = [at / (_TICKS - 1) for at in range(_TICKS)]
            ratio = self.high / self.low if self.one.is_log else 1.0
            values = [
                self.low * ratio**at if self.one.is_log else self.low + at * (self.high - self.low) for at in steps
            ]
        return [(place, f"{value:.3g}") for value in values if (place := self.place(value)) is not None]

    def brushed(self) -> dict[str, Any]:
        """What a page needs to say a range of this axis as a filter."""
        if not self.one.is_number:
            words = {self.one.literals[word]: self.place(word) for word in self.one.words}
            return {"path": self.one.path, "words": words}
        return {"path": self.one.path, "low": self.low, "high": self.high, "log": self.one.is_log}


def _even(at: int, count: int) -> float:
    return 0.5 if count == 1 else at / (count - 1)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
