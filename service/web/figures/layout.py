"""How panels fill the room there is: their number beside each other, their size, and where the legend stands. Pure."""

from dataclasses import dataclass
from typing import Final

PRINTED: Final = 0
"""The room of what is kept and printed: panels have the size that they were drawn for."""
_AXIS, _GAP, _LEGEND, _EDGE = 74, 22, 150, 22
_LEAST_PANEL = 185
_NARROW = 620


@dataclass(frozen=True)
class Layout:
    """Sizes in pixels."""

    columns: int
    width: int
    height: int
    legend_below: bool
    line: int
    """Characters of a line of text above the figure."""


def layout(
    room: int,
    count: int,
    *,
    last: int = 1,
    printed: tuple[int, int] = (250, 230),
    has_legend: bool = True,
    in_rows: bool = False,
) -> Layout:
    """The layout of some panels.

    Args:
        room: width in pixels that the figure may take; PRINTED for none in particular.
        count: panels.
        last: values of the setting that varies fastest from panel to panel: rows hold all of them where they fit.
        printed: width and height of a panel in print.
        has_legend: whether room is kept for one.
        in_rows: rows have `last` panels each, however narrow they become.
    """
    if room == PRINTED and in_rows:
        return Layout(last, 150, 130, legend_below=False, line=120)
    if room == PRINTED:
        columns = last if 1 < last <= 4 and count > 3 else min(count, 3)
        return Layout(columns, *printed, legend_below=False, line=120)
    is_narrow = room < _NARROW
    free = room - _EDGE - _AXIS - (0 if is_narrow or not has_legend else _LEGEND)
    fit = max(1, (free + _GAP) // (_LEAST_PANEL + _GAP))
    columns = last if in_rows else min(count, fit)
    if 1 < last <= fit and count > last:
        columns = last
    width = max(60 if in_rows else 120, (free - _GAP * (columns - 1)) // columns)
    height = min(max(round(0.62 * width), 110 if in_rows else 150), 380)
    return Layout(columns, width, height, is_narrow, line=max(30, int(room / 6.4)))
