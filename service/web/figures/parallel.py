"""Parallel coordinates: every axis of a sweep upright, a line per group of settings, coloured by its final value."""

import math
from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import polars as pl

from service.questions.pooling import Pooling
from service.web.figures.following import followed
from service.web.figures.hand import brushing, under_the_pointer
from service.web.figures.layout import PRINTED, layout
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
    titles, axes, value = [one.name for one in variables], [_Axis(one) for one in variables], variables[-1]
    places = [[axis.place(one) for one in axis.one.values.to_list()] for axis in axes]
    known = [at for at in range(table.height) if all(place[at] is not None for place in places)]
    every = max(1, -(-len(known) // MOST_LINES))
    keys = list(dict.fromkeys(one.path for one in variables[:-1]))
    group = told(table, keys, "group").labels.to_list()
    rows = [
        {"axis": titles[at], "place": place[line], "group": group[line], "here": _text(one.values[line])}
        | {"value": value.values[line], "count": counts[line]}
        for line in known[::every]
        for at, (one, place) in enumerate(zip(variables, places, strict=True))
    ]
    size = layout(room, 1)
    width = size.width if room else max(360, 130 * len(variables))
    names = alt.Axis(labelAngle=0, domain=False, ticks=False, orient="top", labelLimit=max(60, width // len(titles)))
    x = alt.X("axis:N", sort=titles, title=None, axis=names)
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.03, 1.03], nice=False))
    scale = alt.Scale(scheme="viridis", type="log" if value.is_log else "linear", nice=False, zero=False)
    looks: dict[str, Any] = {"orient": "bottom", "direction": "horizontal"} if size.legend_below else {}
    legend = alt.Legend(type="gradient", format="~g", titleLimit=220, gradientLength=min(180, width // 2), **looks)
    paint = alt.Color("value:Q", title=value.name, scale=scale, legend=legend)
    base: Any = alt.Chart(alt.Data(values=rows)).encode(x=x)
    line = base.mark_line(strokeWidth=1.3, opacity=0.65).encode(y=y, color=paint, detail="group:N")
    said = [
        alt.Tooltip("group:N", title="group"),
        alt.Tooltip("here:N", title="here"),
        alt.Tooltip("value:Q", title=value.name, format=".6~g"),
        alt.Tooltip("count:Q", title="trials"),
    ]
    points = under_the_pointer(base.encode(y=y, color=alt.value(rule_color())), said, len(rows), ["group"])
    ticks = [{"axis": one.one.name, "place": at, "text": text} for one in axes for at, text in one.ticks()]
    upright: Any = alt.Chart(alt.Data(values=ticks)).encode(x=x)
    rule = (
        upright.mark_rule(color=rule_color())
        .transform_calculate(low="0", high="1")
        .encode(y=alt.Y("low:Q", axis=None), y2="high:Q")
    )
    words: dict[str, Any] = {"align": "left", "dx": 5, "fontSize": 11}
    halo = upright.mark_text(**words, color=HALO, stroke=HALO, strokeWidth=4).encode(y=y, text="text:N")
    text = upright.mark_text(**words, color=soft_color()).encode(y=y, text="text:N")
    chart = alt.layer(rule, line.add_params(*brushing()), halo, text, points).properties(
        width=width, height=size.height if room else 260
    )
    says = f"a line is the median of {behind(counts, pooling, '')}"
    says += f"; every {every}th line is drawn" if every > 1 else ""
    brush = {"axes": {one.one.name: one.brushed() for one in axes}}
    links = followed(table, keys, [pl.Series("group", group, dtype=pl.String)], None, ["group"], brush)
    return styled(chart, title or "Settings and what comes of them", says, size.line).properties(usermeta=links)


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
