"""From a wish (which figure, which settings, which metric) to a chart; asks a source for the data it needs.

The command line asks the service over REST, the web page asks the store: both through one protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import polars as pl
from altair.utils.schemapi import debug_mode

from nfa_kernels import names
from service.client import Client
from service.grid.value_order import ValueOrder
from service.questions.layers import Layer
from service.questions.pooling import Pooling
from service.questions.shown_first import shown_first
from service.web import figures
from service.web.figures.curves import EDGE, CurveLook
from service.web.per_trial import difference, distribution, parallel, scatter
from service.web.wishes import BANDS, DEPTH, FIGURES, KINDS, NothingToDraw, Source, Wish, channels_of

__all__ = ["BANDS", "FIGURES", "KINDS", "ClientSource", "NothingToDraw", "Source", "Wish"]
__all__ += ["channels_of", "draw", "recorded_members"]


def draw(wish: Wish, source: Source) -> Any:
    """The chart of a wish. Raises NothingToDraw, with what is missing."""
    drawn = {"phase": _phase, "exponent": _exponent, "profile": _profile, "spectra": _spectra}
    drawn |= {"scatter": scatter, "distribution": distribution, "difference": difference, "parallel": parallel}
    drawn |= {"boundary": _boundary, "fit": _fit}
    # held against the schema of Vega-Lite by tests: ten thousand rows of data would be, too, at every figure
    with debug_mode(False):
        return drawn.get(wish.figure, _curves)(wish, source)


def _curves(wish: Wish, source: Source) -> Any:
    metric = "imbalance" if wish.figure == "imbalance" else wish.metric
    against = "time" if wish.figure == "imbalance" else wish.against
    keys = [*wish.keys, *(_edge(source.grid, wish.keys) if metric == "sharpness" else ())]
    table = source.curves(metric, keys, wish.layer, wish.where)
    _require(table, metric, wish, source.grid)
    look = CurveLook(
        *(wish.color, wish.facet, against, wish.complement, wish.title, wish.layer, wish.dash),
        pooling=source.pooling(wish.keys, wish.where, with_running=True),
        order=source.order,
        room=wish.room,
        in_rows=wish.figure == "multiples",
    )
    if look.in_rows and len(look.facets) != 2:
        raise NothingToDraw("fewer than two settings that vary: rows and columns of panels need two, for --facet a,b")
    return figures.metric_curves(table, metric, look)


def _edge(grid: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """What the edge of stability follows from, where asking for it tells no more lines apart: one value for all."""
    if "experiment" in keys:
        return []
    varied = {path for group in _groups(grid) for path in group}
    touched = {path for path in EDGE if path in varied or "training" in varied}
    return [] if touched - {*keys} else [path for path in EDGE if path not in keys]


def _groups(grid: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The paths that a grid gives several values, or values of their own, with these."""
    included = ({path: [value] for path, value in one.items()} for one in _included(grid))
    return [grid.get("axes") or {}, *(grid.get("zip") or ()), *included]


def _phase(wish: Wish, source: Source) -> Any:
    if wish.facet is None:
        raise NothingToDraw("a single axis: a phase diagram needs two settings, for --color and --facet")
    across, down = wish.color, wish.facet.split(",")[-1]
    found = source.phase(across, down, wish.metric, wish.layer, wish.where)
    if not any(sum(line) for line in found["counts"]):
        raise NothingToDraw(_lacking(wish.metric, wish, source.grid))
    pooling = source.pooling([across, down], wish.where, with_running=False)
    return figures.phase_diagram(found, wish.title, pooling, wish.room)


def _exponent(wish: Wish, source: Source) -> Any:
    color = next((path for path in wish.keys if path not in (DEPTH, "seed")), None)
    keys = list(dict.fromkeys([DEPTH, *([color] if color else [])]))
    table = source.results(["best_exponent"], keys, 1, wish.where)
    _require(table, "best_exponent", replace(wish, layer=1), source.grid)
    pooling = source.pooling(keys, wish.where, with_running=False)
    more: dict[str, Any] = {"pooling": pooling, "order": source.order, "room": wish.room}
    has_theory = _depth_counts_maps(source.grid)
    return figures.exponent_by_depth(table, color=color, title=wish.title, has_theory=has_theory, **more)


def _profile(wish: Wish, source: Source) -> Any:
    asked = [name for name in source.recorded() if name.startswith("alignment@")]
    if not asked:
        raise NothingToDraw("no exponents recorded: name them under measure.exponents of the grid")
    table = source.results(asked, wish.keys, wish.layer, wish.where)
    _require(table, asked[0], wish, source.grid)
    return figures.exponent_profile(
        table,
        color=wish.color,
        facet=wish.facet,
        title=wish.title,
        layer=wish.layer,
        has_theory=_depth_counts_maps(source.grid),
        dash=wish.dash,
        pooling=source.pooling(wish.keys, wish.where, with_running=False),
        order=source.order,
        room=wish.room,
    )


def _depth_counts_maps(grid: Mapping[str, Any]) -> bool:
    """Whether network.depth is how many maps every network of a grid has in a row: not of transformers and graphs."""
    groups = [{"network": [(grid.get("trial") or {}).get("network") or {}]}, *_groups(grid)]
    kinds = [kind for group in groups for kind in group.get("network.kind", ())]
    kinds += [one.get("kind") for group in groups for one in group.get("network", ()) if isinstance(one, Mapping)]
    return not any(kind in ("transformer", "graph") for kind in kinds)


def _included(grid: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in grid.get("include") or () if isinstance(one, Mapping)]


def _spectra(wish: Wish, source: Source) -> Any:
    asked = [name for name in source.recorded() if name.startswith("agop_singular_value@")]
    if not asked:
        raise NothingToDraw(
            "no singular values recorded: name agop_singular_value@1, .. under measure.metrics of the grid"
        )
    keys = [path for path in wish.keys if path != "seed"]
    # without an axis all trials are one group, by a setting that they share
    tables = {name: source.curves(name, keys or ["data.kind"], wish.layer, wish.where) for name in asked}
    _require(tables[asked[0]], asked[0], wish, source.grid)
    pooling = source.pooling(keys, wish.where, with_running=True)
    more: dict[str, Any] = {"pooling": pooling, "order": source.order, "room": wish.room}
    return figures.spectra(tables, keys, title=wish.title, layer=wish.layer, **more)


def _boundary(wish: Wish, source: Source) -> Any:
    found = source.found()["boundaries"]
    planes = [one for one in found if one["cells"]]
    lines = [one for one in found if one["brackets"]]
    if not planes and not lines:
        raise NothingToDraw("no boundary: a grid asks for one with refine, and it has to have turned somewhere")
    if planes:
        first = [one for one in planes if one["refine"] == planes[0]["refine"]]
        return figures.boundary_plane(first, wish.title, source.order, wish.room)
    along = [one for one in lines if one["axes"] == lines[0]["axes"]]
    return figures.boundary_lines(along, wish.title, source.order, wish.room)


def _fit(wish: Wish, source: Source) -> Any:
    laws = [one for one in source.found()["fits"] if one["kind"] == "log_log_slope" and one.get("centre")]
    if not laws:
        raise NothingToDraw("no power law: a claim asks for one with fit: {kind: log_log_slope, x: PATH, ..}")
    what = ("x", "metric", "transform")
    same = [one for one in laws if all(one[name] == laws[0][name] for name in what)]
    return figures.power_laws(same, wish.title, source.order, wish.room)


def _require(table: pl.DataFrame, metric: str, wish: Wish, grid: Mapping[str, Any]) -> None:
    column = f"{metric}_median"
    if not table.height or column not in table.columns or table[column].null_count() == table.height:
        raise NothingToDraw(_lacking(metric, wish, grid))


def _lacking(metric: str, wish: Wish, grid: Mapping[str, Any]) -> str:
    """What there is none of, and which of the choices may be why."""
    matching = f" that matches {wish.where}" if wish.where else ""
    is_of_layer = metric not in names.NETWORK_METRICS
    told = f"no completed trial{matching} with {metric}{f' in layer {wish.layer}' if is_of_layer else ''} to draw"
    if is_of_layer and wish.layer != shown_first(grid).layer:
        measure = (grid.get("trial") or {}).get("measure") or {}
        return f"{told}; measure.layers of the grid is {measure.get('layers', 'first')}"
    return f"{told}; what waits, diverged, failed or was cancelled is left out"


class ClientSource:
    """The service over REST."""

    def __init__(self, client: Client, experiment: str, grid: Mapping[str, Any]) -> None:
        self.client, self.experiment, self.grid = client, experiment, grid

    def curves(self, metric: str, group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """GET /curves."""
        return self.client.curves(
            self.experiment, metric, group_by=group_by, layer=layer, agg=BANDS, where=where or None, running=True
        )

    def results(self, metrics: Sequence[str], group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """GET /results."""
        return self.client.results(
            self.experiment, group_by=group_by, metric=metrics, layer=layer, agg=BANDS, where=where or None
        )

    def phase(self, x: str, y: str, metric: str, layer: Layer, where: str) -> Mapping[str, Any]:
        """GET /phase."""
        return self.client.phase(self.experiment, x=x, y=y, metric=metric, layer=layer, where=where or None)

    def found(self) -> Mapping[str, Any]:
        """GET /fits."""
        return self.client.fits(self.experiment).model_dump()

    def recorded(self) -> list[str]:
        """Of the grid's trial block."""
        return recorded_members(self.grid)

    def pooling(self, group_by: Sequence[str], where: str, *, with_running: bool) -> Pooling:
        """GET /pooling."""
        found = self.client.pooling(self.experiment, group_by=group_by, where=where or None, running=with_running)
        return found.as_pooling()

    @cached_property
    def order(self) -> ValueOrder:
        """As the grid lists them."""
        return ValueOrder(lambda: [self.grid])


def recorded_members(grid: Mapping[str, Any]) -> list[str]:
    """Metrics with a parameter that a grid records, each family by its parameter."""
    measure = (grid.get("trial") or {}).get("measure") or {}
    asked = measure.get("metrics") or ()
    written = [] if isinstance(asked, str) else [*asked]
    written += [names.alignment_id(float(exponent)) for exponent in measure.get("exponents") or ()]
    members = {name: member for name in written if (member := names.family_member(name))}
    return sorted(members, key=lambda name: members[name])
