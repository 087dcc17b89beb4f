"""Which axes a figure tells apart by colour, by dash and by panel where nobody says so. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from service.grid.axes import moving_together
from service.grid.sampling import sampled_paths
from service.grid.value_order import written_values

MOST_DASHES: Final = 5
"""Values that patterns of dashes tell apart."""
MOST_PANELS: Final = 24
NONE: Final = "none"


@dataclass(frozen=True)
class Channels:
    """The paths that a figure tells apart."""

    color: str
    dash: str | None
    facets: tuple[str, ...]
    """A panel for every combination of their values."""


def told_apart(
    axes: Sequence[str],
    grid: Mapping[str, Any],
    color: str | None = None,
    dash: str | None = None,
    facet: str | None = None,
) -> Channels:
    """What was asked for, and the other axes as far as they can be told apart: colour first, settings of the network
    by panel, dashes for the axis with the fewest values, further panels while there are few.

    Args:
        axes: paths that vary.
        grid: the document they are from, for how many values they have.
        color: a path; None to choose.
        dash: a path, none, or None to choose.
        facet: paths separated by commas, none, or None to choose.
    """
    written, asked = written_values(grid), tuple(part.strip() for part in (facet or "").split(",") if part.strip())
    sizes = {path: len(written.get(path, ())) or 2 for path in axes}
    hidden = (*moving_together(grid), *sampled_paths(grid), color, dash, *asked)
    free = [path for path in axes if path not in hidden and sizes[path] > 1]
    free.sort(key=lambda path: path.startswith("network."))
    color = color or (free.pop(0) if free else "seed")
    if facet:
        facets = tuple(path for path in dict.fromkeys(asked) if path not in (NONE, color))
    else:
        facets = (free.pop(),) if free else ()
    if dash is None:
        fewest = min(free, key=lambda path: sizes[path], default=None)
        dash = fewest if fewest is not None and sizes[fewest] <= MOST_DASHES else None
        free = [path for path in free if path != dash]
    for path in free if not facet else ():
        if prod(sizes[one] for one in (*facets, path)) <= MOST_PANELS:
            facets = (path, *facets)
    is_told = dash not in (NONE, color, *facets)
    return Channels(color, dash if is_told else None, facets)
