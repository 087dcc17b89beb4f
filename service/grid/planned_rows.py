"""About how many rows of measurements a grid's trials will have. Pure."""

from collections.abc import Sequence
from typing import Final

from service.grid.measured_steps import measured_count
from service.grid.points import Point

_LOOKED_AT: Final = 16
"""Points; of more, so many stand for all."""


def planned_rows(points: Sequence[Point], trials: int) -> int:
    """Rows of networks and of layers of so many trials of these points."""
    some = points[:: max(1, len(points) // _LOOKED_AT)]
    each = [measured_count(point.settings) * (1 + len(point.part("measure")["layers"])) for point in some]
    return trials * sum(each) // max(1, len(each))
