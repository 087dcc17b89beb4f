"""Experiments side by side: one figure, one table, and the settings in which they differ."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Final

import polars as pl
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from service.api.deps import StoreDep
from service.api.query_names import known_paths, numeric_metrics
from service.errors import InvalidRequest, NotFound
from service.grid.value_order import ValueOrder
from service.questions.layers import Layer
from service.questions.pooling import Pooling, short_names
from service.questions.reductions import parse_reduction
from service.questions.tables import long_table, table
from service.questions.telling_apart import told_apart
from service.store import curves, pooling, results
from service.store.differences import differences
from service.store.experiments import Experiment, get_experiment
from service.store.session import Store
from service.web import charting
from service.web.drawing import BANDS, NothingToDraw, Wish, draw
from service.web.figure_pages import MEDIA, SHOWN_METRICS, Choices, Dark, answered, filled
from service.web.page_route import HEADERS, PageRoute, render
from service.web.store_source import MOST_POINTS, StoreSource

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_FIGURES: Final = ("curves", "imbalance")
_MOST: Final = 8
_MOST_ROWS: Final = 500
_WHICH: Final = "experiment"


def _named(store: StoreDep, experiments: Annotated[list[str] | None, Query(max_length=50)] = None) -> list[Experiment]:
    """The experiments of an address: ids after commas, or a parameter each."""
    ids = [part.strip() for one in experiments or () for part in one.split(",") if part.strip()]
    if not 2 <= len(dict.fromkeys(ids)) <= _MOST:
        raise InvalidRequest(
            f"experiments: received {', '.join(ids)[:200] or 'none'}; tick 2 to {_MOST} on the list, or name them "
            "as in /compare?experiments=e1,e2"
        )
    return [get_experiment(store, one) for one in dict.fromkeys(ids)]


Named = Annotated[list[Experiment], Depends(_named)]


@router.get("/compare")
def compare(store: StoreDep, named: Named, chosen: Choices) -> Response:
    """Figure, table and differing settings of some experiments."""
    charting.prepare()
    chosen = filled(named[0].grid, chosen)
    wish, ids = _wish(named, chosen), [one.id for one in named]
    axes = _axes(named)
    question = results.Question(
        tuple(axes),
        tuple(numeric_metrics(chosen["metric"])),
        chosen["layer"],
        parse_reduction("final"),
        ("mean", "std", "count"),
        chosen["where"],
    )
    rows = _side_by_side(results.group_table(store, ids[0], question, ids[1:]), axes, ids, chosen["metric"])
    order = _order(named)
    rows.sort(key=lambda row: [order.rank(path, value) for path, value in zip(axes, row[0], strict=True)])
    return render(
        "compare.html",
        named=named,
        ids=",".join(ids),
        chosen=chosen,
        wish=wish,
        figures=_FIGURES,
        metrics=list(dict.fromkeys((*SHOWN_METRICS, chosen["metric"]))),
        axes=axes,
        short=dict(zip(axes, short_names(axes), strict=True)),
        rows=rows[:_MOST_ROWS],
        left_out=max(0, len(rows) - _MOST_ROWS),
        differing=differences(store, ids),
        vega=charting.VERSION,
    )


@router.get("/compare/figure.{form}")
def figure(request: Request, form: str, store: StoreDep, named: Named, chosen: Choices, dark: Dark = False) -> Response:
    """The curves of some experiments in one figure, a colour for each."""
    if form not in MEDIA:
        raise NotFound(f"figures are answered as {', '.join(MEDIA)}")
    try:
        chart = draw(_wish(named, chosen), _Source(store, named))
    except NothingToDraw as nothing:
        if form == "json":
            return JSONResponse({"nothing": str(nothing)}, headers=HEADERS)
        raise NotFound(str(nothing)) from nothing
    return answered(chart, form, dark=dark)


def _wish(named: Sequence[Experiment], chosen: dict[str, Any]) -> Wish:
    """One colour for each experiment; what varies in any of them by dash and panel, as far as it fits."""
    if chosen["figure"] not in _FIGURES:
        raise InvalidRequest(f"figure: received {chosen['figure']}; compared are {' and '.join(_FIGURES)}")
    chosen = filled(named[0].grid, chosen)
    if len(numeric_metrics(chosen["metric"])) != 1:
        raise InvalidRequest("metric: name one")
    # the experiment with the most axes decides what there is to tell apart
    grid = max(named, key=lambda one: len(one.axes)).grid
    told = told_apart(_axes(named), grid, _WHICH, chosen["dash"] or None, chosen["facet"] or None)
    known_paths(",".join([*([told.dash] if told.dash else []), *told.facets]), "dash or facet")
    title = " · ".join(f"{one.id} {one.name}" for one in named)
    facet = ",".join(told.facets) or None
    wanted: dict[str, Any] = chosen | {"color": _WHICH, "dash": told.dash, "facet": facet, "title": title}
    return Wish(**wanted)


def _axes(named: Sequence[Experiment]) -> list[str]:
    """The paths that vary in any of the experiments."""
    return list(dict.fromkeys(path for one in named for path in one.axes))


def _side_by_side(rows: Sequence[dict[str, Any]], axes: Sequence[str], ids: Sequence[str], metric: str) -> list[Any]:
    """One row for each group of settings: their values, and what each experiment has there, None where nothing."""
    found: dict[str, tuple[list[Any], list[Any]]] = {}
    for row in rows:
        values = [row[path] for path in axes]
        _, cells = found.setdefault(repr(values), (values, [None] * len(ids)))
        parts = {name: row[f"{metric}_{name}"] for name in ("mean", "std", "count")}
        cells[ids.index(row[_WHICH])] = parts | {"incomplete": row["incomplete"]}
    return list(found.values())


class _Source(StoreSource):
    """Several experiments, told apart by a first key."""

    def __init__(self, store: Store, named: Sequence[Experiment]) -> None:
        super().__init__(store, named[0].id, named[0].grid)
        self.named, self.also = named, [one.id for one in named[1:]]

    def curves(self, metric: str, group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """Thinned to what a screen shows."""
        question = curves.CurveQuestion(_own(group_by), metric, layer, BANDS, where, MOST_POINTS, with_running=True)
        return long_table(curves.curves(self.store, self.experiment, question, self.also))

    def results(self, metrics: Sequence[str], group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """Of final values."""
        question = results.Question(_own(group_by), tuple(metrics), layer, parse_reduction("final"), BANDS, where)
        return table(results.group_table(self.store, self.experiment, question, self.also))

    def pooling(self, group_by: Sequence[str], where: str, *, with_running: bool) -> Pooling:
        """Of each experiment by itself."""
        own = _own(group_by)
        return pooling.pooled(self.store, self.experiment, own, where, with_running=with_running, also=self.also)

    @cached_property
    def order(self) -> ValueOrder:
        """As the grids list them, experiments as they were named."""
        return _order(self.named)


def _order(named: Sequence[Experiment]) -> ValueOrder:
    return ValueOrder(lambda: [one.grid for one in named], {_WHICH: [one.id for one in named]})


def _own(group_by: Sequence[str]) -> tuple[str, ...]:
    return tuple(path for path in group_by if path != _WHICH)
