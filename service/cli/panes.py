"""What stands below the bar of a watched experiment: how each group develops, and what failed."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import polars as pl
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from service.cli.progress import sparkline
from service.client import Client
from service.questions.number_format import number
from service.questions.pooling import short_names
from service.questions.shown_first import ALIGNMENT, shown_first
from service.schemas.experiments import ExperimentDetail
from service.schemas.trials import TrialBody
from service.states import TrialState

MOST_CURVES: Final = 12
MOST_FAILURES: Final = 5
_POINTS: Final = 60
_LOOKED_AT: Final = 200
"""Failed trials of which the latest are shown."""


class Curve(NamedTuple):
    """The medians of a group by step."""

    name: str
    medians: Sequence[float]


class Look(NamedTuple):
    """What the panes show."""

    curves: Sequence[Curve]
    failures: Sequence[TrialBody]
    failed: int
    title: str = "Alignment of layer 1"
    """What the curves are of."""


class Panes:
    """Looks at an experiment through a client, and draws what it saw."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def look(self, experiment: ExperimentDetail) -> RenderableType:
        """The panes as they stand now."""
        paths = told_apart(experiment.grid, experiment.axes)
        shown = shown_first(experiment.grid)
        more: dict[str, Any] = {"agg": ["median"], "max_points": _POINTS, "running": True}
        found = self._client.curves(experiment.id, shown.metric, group_by=paths, layer=shown.layer, **more)
        failed = experiment.counts.get(TrialState.FAILED, 0)
        failures = list(islice(self._client.trials(experiment.id, state="failed"), _LOOKED_AT)) if failed else []
        return drawn(Look(curves_of(found, paths, shown.metric), failures, failed, shown.says))


def told_apart(grid: Mapping[str, Any], axes: Sequence[str]) -> list[str]:
    """The first axes of a grid whose groups fit into a pane."""
    found: list[str] = []
    groups = 1
    for path in axes:
        values = (grid.get("axes") or {}).get(path)
        count = len(values) if isinstance(values, list) else MOST_CURVES + 1
        if groups * count <= MOST_CURVES:
            groups *= count
            found.append(path)
    return found


def curves_of(found: pl.DataFrame, paths: Sequence[str], metric: str = ALIGNMENT) -> list[Curve]:
    """A curve for each group of a table with a row per group and step."""
    short = dict(zip(paths, short_names(list(paths)), strict=True))
    groups: dict[str, list[float]] = {}
    for row in found.iter_rows(named=True):
        name = ", ".join(f"{short[path]} {number(row[path])}" for path in paths) or "all trials"
        medians = groups.setdefault(name, [])
        if row[f"{metric}_median"] is not None:
            medians.append(row[f"{metric}_median"])
    return [Curve(name, medians) for name, medians in groups.items() if medians]


def drawn(look: Look) -> RenderableType:
    """Panes as wide as the terminal: curves, and failures where there are some."""
    panes: list[RenderableType] = []
    if look.curves:
        rows = Table.grid(padding=(0, 2, 0, 0))
        every = [value for one in look.curves for value in one.medians]
        # what leaves 0 to 1, as losses do, is drawn between its own ends
        low, high = (0.0, 1.0) if 0 <= min(every) <= max(every) <= 1 else (min(every), max(every))
        for one in look.curves:
            heights = [(value - low) / (high - low or 1.0) for value in one.medians]
            rows.add_row(Text(one.name), Text(sparkline(heights), "cyan"), Text(number(one.medians[-1])))
        title = f"{look.title[:1].lower()}{look.title[1:]}, medians by step"
        panes.append(Panel(rows, title=title, title_align="left"))
    if look.failed:
        latest = sorted(look.failures, key=lambda one: one.ended_at.timestamp() if one.ended_at else 0.0)
        rows = Table.grid(padding=(0, 2, 0, 0))
        for one in latest[: -MOST_FAILURES - 1 : -1]:
            reason = (one.error or "no reason was recorded").strip().splitlines()[0]
            rows.add_row(Text(one.id), Text(reason, "red", overflow="ellipsis", no_wrap=True))
        panes.append(Panel(rows, title=f"{look.failed} failed, the latest", title_align="left"))
    return Group(*panes)
