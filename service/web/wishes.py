"""What is wished of a figure, and where its data come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import polars as pl

from service.grid.axes import moving_together
from service.grid.value_order import ValueOrder
from service.questions.layers import Layer
from service.questions.pooling import Pooling
from service.questions.telling_apart import NONE, Channels, told_apart

FIGURES = ("curves", "imbalance", "phase", "exponent", "profile", "spectra")
"""Of averages over groups."""
PER_TRIAL = ("scatter", "distribution", "difference", "parallel", "multiples")
"""Of trials one by one, and curves in rows and columns of panels."""
OF_FINDINGS = ("boundary", "fit")
"""Of what searches and claims have found."""
KINDS = (*FIGURES, *PER_TRIAL, *OF_FINDINGS)

BANDS = ("median", "min", "max", "count")
DEPTH = "network.depth"


class NothingToDraw(Exception):
    """There is no completed trial with what was asked for, or too few settings vary."""


@dataclass(frozen=True)
class Wish:
    """Which figure, and its choices."""

    figure: str = "curves"
    color: str = "seed"
    facet: str | None = None
    """Paths separated by commas: a panel for every combination of their values."""
    metric: str = "alignment"
    layer: Layer = 1
    against: Literal["step", "time"] = "step"
    complement: bool = False
    title: str = ""
    where: str = ""
    dash: str | None = None
    room: int = 0
    """Width in pixels that the figure may take; 0 in print."""
    x: str = ""
    """Along the horizontal axis of trials: a setting, or final.METRIC[layer]; empty: the first axis."""
    y: str = ""
    """Along the vertical one; empty: the final value of the metric."""
    axes: tuple[str, ...] = ()
    """Paths that vary, in the order they were written in; empty: in any order, which is all that a stored grid has."""
    baseline: str = ""
    """The value of x that others are compared with, as it is written in a legend; empty: the first."""

    @property
    def keys(self) -> list[str]:
        """Paths that are told apart."""
        facets = self.facet.split(",") if self.facet else []
        return list(dict.fromkeys([self.color, *([self.dash] if self.dash else []), *facets]))


class Source(Protocol):
    """Where a figure's data come from."""

    grid: Mapping[str, Any]

    def curves(self, metric: str, group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """One row per group and step, with METRIC_median, _min, _max, _count."""
        ...

    def results(self, metrics: Sequence[str], group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """One row per group, with METRIC_median, _min, _max, _count of final values."""
        ...

    def phase(self, x: str, y: str, metric: str, layer: Layer, where: str) -> Mapping[str, Any]:
        """The matrix of a metric over two settings."""
        ...

    def found(self) -> Mapping[str, Any]:
        """What searches and claims have found, as `schemas.fits.Fits` has it."""
        ...

    def recorded(self) -> list[str]:
        """Metrics with a parameter that were recorded beside the usual ones, by their parameter."""
        ...

    def pooling(self, group_by: Sequence[str], where: str, *, with_running: bool) -> Pooling:
        """What is pooled in groups by some paths."""
        ...

    @property
    def order(self) -> ValueOrder:
        """Of the values of the axes."""
        ...


def channels_of(
    figure: str,
    axes: Sequence[str],
    grid: Mapping[str, Any],
    *,
    color: str | None = None,
    dash: str | None = None,
    facet: str | None = None,
    x: str = "",
) -> Channels:
    """What a kind of figure tells apart by colour, dash and panel, where it is left open.

    Args:
        figure: of KINDS.
        axes: paths that vary.
        grid: the document they are from.
        color: a path; None to choose.
        dash: a path, none, or None to choose.
        facet: paths separated by commas, none, or None to choose.
        x: what stands along the horizontal axis of trials, and need not be told apart again.
    """
    hidden = moving_together(grid)
    free = [path for path in axes if path not in hidden]
    if figure == "multiples":
        rest = [path for path in free if path not in (color, dash)]
        rest.sort(key=lambda path: path.startswith("network."))
        sides = [part.strip() for part in (facet or "").split(",") if part.strip()]
        sides = sides if len(sides) == 2 else rest[-2:]
        color = color or next((path for path in rest if path not in sides), "seed")
        return told_apart(axes, grid, color, dash, ",".join(sides) or NONE)
    if figure in ("distribution", "difference"):
        rest = [path for path in axes if path != (x or next(iter(free), ""))]
        return told_apart(rest, grid, color, NONE, facet)
    if figure in ("scatter", "parallel"):
        color = color or next((path for path in free if path != (x or next(iter(free), ""))), "seed")
        facets = tuple(part.strip() for part in (facet or "").split(",") if part.strip() not in ("", NONE, color))
        return Channels(color, None, facets)
    return told_apart(axes, grid, color, dash, facet)
