"""Everything that was measured of one trial: a small panel for every metric, and one for singular values."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from service.web.figures.curves import LOGARITHMIC
from service.web.figures.layout import PRINTED, layout
from service.web.figures.style import POWERS, hues, metric_label, styled

_CLOCKS = ("step", "time")
_SINGULAR = "agop_singular_value@"
_BESIDE = 44
"""Each panel has an axis of its own."""


def trial_panels(
    series: Mapping[str, Sequence[Any]], *, title: str, layer: int | str, room: int = PRINTED
) -> Any | None:
    """One panel per numeric metric with a value, against step on a logarithmic axis; None where there is none.

    Args:
        series: step, and METRIC -> values of one trial, null where undefined: a line is not drawn across it.
        title: of the figure.
        layer: whose metrics of layers these are.
        room: width in pixels that the figure may take.
    """
    steps = [step + 1 for step in series.get("step", ())]
    spectrum = {name: values for name, values in series.items() if name.startswith(_SINGULAR)}
    place = layout(room, max(len(series), 3), printed=(240, 110), has_legend=False)
    drawn = [
        _panel(steps, metric, {metric: values}, place.width)
        for metric, values in series.items()
        if metric not in _CLOCKS and metric not in spectrum and _is_numeric(values)
    ]
    if any(_is_numeric(values) for values in spectrum.values()):
        drawn.append(_panel(steps, "singular values, largest to smallest", spectrum, place.width))
    if not drawn:
        return None
    whole = alt.concat(*drawn, columns=place.columns).resolve_scale(color="independent")
    return styled(whole, title, f"layer {layer}, 1 seed", place.line)


def _panel(steps: Sequence[int], name: str, lines: Mapping[str, Sequence[Any]], width: int) -> Any:
    is_log = name in LOGARITHMIC or len(lines) > 1
    rows = [
        {"x": step, "value": None if is_log and value is not None and value <= 0 else value, "line": line}
        for line, values in lines.items()
        for step, value in zip(steps, values, strict=True)
    ]
    scale = alt.Scale(type="log") if is_log else alt.Scale(zero=False)
    x_axis = alt.Axis(format="~s", values=[10**power for power in range(10)])
    looks: dict[str, Any] = {"format": "~e", "labelExpr": POWERS} if is_log else {"format": "~g"}
    y_axis = alt.Axis(tickCount=3 if is_log else 4, **looks)
    colors = alt.Scale(domain=list(lines), range=hues(len(lines)))
    chart: Any = alt.Chart(alt.Data(values=rows))
    return (
        chart.mark_line(
            strokeWidth=1.6, point={"size": 9, "filled": True}, invalid="break-paths-filter-domains", clip=True
        )
        .encode(
            x=alt.X("x:Q", title="step + 1", scale=alt.Scale(type="log", nice=False), axis=x_axis),
            y=alt.Y("value:Q", title=None, scale=scale, axis=y_axis),
            color=alt.Color("line:N", legend=None, scale=colors),
            tooltip=[
                alt.Tooltip("line:N", title="metric"),
                alt.Tooltip("x:Q", title="step + 1", format=","),
                alt.Tooltip("value:Q", format=".6~g"),
            ],
        )
        .properties(
            width=max(120, width - _BESIDE),
            height=110,
            title=alt.TitleParams(_in_lines(metric_label(name), width), fontSize=11, anchor="start"),
        )
    )


def _in_lines(title: str, width: int) -> list[str]:
    """A panel's title: its name, and on a line of its own the formula that does not stand beside it."""
    name, _, formula = title.partition(" ")
    return [title] if 6 * len(title) <= width else [name, formula]


def _is_numeric(values: Sequence[Any]) -> bool:
    return any(isinstance(value, int | float) for value in values)
