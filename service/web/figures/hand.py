"""How figures answer the hand: zoom and pan, legends that show and hide, a point under the pointer, a click.

All of it are parameters of the one definition. A drawing that nobody touches looks as if they were not there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

PICKED: Final = "picked"
"""The parameter that a page listens to: what was clicked."""
WHOLE: Final = "whole"
BRUSH: Final = "brush"
"""The parameter that holds the range that was marked."""
_FADED: Final = 0.06
_NEAREST_AMONG: Final = 12_000
"""Points among which the nearest is sought: more would make every move of the pointer slow."""


def zooming() -> Any:
    """Drag to move, Shift and wheel to zoom, double click for the whole again; a wheel alone scrolls the page."""
    return alt.selection_interval(name="zoom", bind="scales", zoom="wheel![event.shiftKey]", clear="dblclick")


def brushing(encodings: Sequence[Any] = ("x", "y"), *, is_zoomed: bool = False) -> list[Any]:
    """Drag to mark a range, which a page can narrow to; what is zoomed too moves with Shift and a drag.

    Args:
        encodings: whose ranges are marked.
        is_zoomed: whether both axes are of numbers, which alone can be zoomed.
    """
    shift = "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!"
    marked = alt.selection_interval(
        name=BRUSH,
        encodings=list(encodings),
        on="[pointerdown[!event.shiftKey], window:pointerup] > window:pointermove!",
        translate="[pointerdown[!event.shiftKey], window:pointerup] > window:pointermove!",
        zoom=False,
        clear="dblclick",
    )
    if not is_zoomed:
        return [marked]
    moved = alt.selection_interval(
        name="zoom", bind="scales", on=shift, translate=shift, zoom="wheel![event.shiftKey]", clear="dblclick"
    )
    return [moved, marked]


def shown_by_legend(field: str) -> Any:
    """A click on an entry of a legend shows that alone, further ones add and take away; none chosen: all."""
    return alt.selection_point(name=f"{field}_shown", fields=[field], bind="legend", toggle="true")


def faded_unless(shown: Sequence[Any], opacity: float) -> Any:
    """The opacity of marks: this where their legends' entries are shown."""
    condition = shown[0]
    for one in shown[1:]:
        condition = condition & one
    return alt.condition(condition, alt.value(opacity), alt.value(_FADED))


def under_the_pointer(base: Any, tooltip: Sequence[Any], count: int, fields: Sequence[str]) -> Any:
    """Points that are not seen, say what they are, and are picked by a click; a page marks the one under the pointer.

    No look depends on where the pointer is: Vega would draw every line anew at each of its moves.

    Args:
        base: with the encodings of the lines.
        tooltip: what they say.
        count: how many there are.
        fields: by which the group of a picked point is known.
    """
    over = alt.selection_point(
        name="over", on="pointerover", clear="pointerout", nearest=count <= _NEAREST_AMONG, empty=False
    )
    picked = alt.selection_point(name=PICKED, fields=list(fields), on="click", clear=False, toggle=False, empty=False)
    return (
        base.mark_point(filled=True, size=70, cursor="pointer")
        .encode(tooltip=list(tooltip), opacity=alt.value(0))
        .add_params(over, picked)
    )


def vertical_range(low: float, high: float, whole: tuple[float, float]) -> tuple[Any, list[Any]]:
    """A scale that ends where the data do, and the box that a click makes it go over the whole range with.

    Args:
        low: the least value that is drawn.
        high: where the axis ends above.
        whole: the range of the metric.
    """
    if low <= whole[0]:
        return alt.Scale(domainMin=whole[0], domainMax=high, nice=False, zero=False), []
    box = alt.param(name=WHOLE, value=False, bind=alt.binding_checkbox(name=f"from {whole[0]:g} "))
    expression = f"{WHOLE} ? {whole[0]} : {low}"
    return alt.Scale(domainMin=alt.ExprRef(expression), domainMax=high, nice=False, zero=False), [box]


def untouched(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The specification of a drawing that nobody touches: without the points that a pointer alone finds.

    Each of them would be an invisible shape of the drawing: of a figure of 20,000 rows 14 MB of a PDF.
    """
    gone: set[str] = set()
    kept = _visible(spec, gone)
    if "params" in kept:
        kept["params"] = [one for one in kept["params"] if not gone.intersection(one.get("views", ()))]
    return kept


def _visible(part: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    """A part of a specification, and those inside it; notes the names of layers that are left out."""
    kept = dict(part)
    if "spec" in kept:
        kept["spec"] = _visible(kept["spec"], gone)
    for several in ("layer", "hconcat", "vconcat", "concat"):
        if several in kept:
            gone.update(one["name"] for one in kept[several] if _is_invisible(one) and "name" in one)
            kept[several] = [_visible(one, gone) for one in kept[several] if not _is_invisible(one)]
    return kept


def _is_invisible(layer: Mapping[str, Any]) -> bool:
    opacity = layer.get("encoding", {}).get("opacity", {})
    return opacity.get("value") == 0 and "condition" not in opacity
