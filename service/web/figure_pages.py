"""An experiment's figures by address: the Vega-Lite specification, or a drawing to keep."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator

from service.api.deps import StoreDep, Where
from service.api.query_names import known_paths, known_variable, numeric_metrics
from service.errors import InvalidRequest, NotFound
from service.questions.layers import LayerText
from service.questions.shown_first import shown_first
from service.store import trials
from service.store.experiments import Experiment, get_experiment
from service.web import charting, figures
from service.web.drawing import draw
from service.web.page_route import HEADERS
from service.web.store_source import StoreSource
from service.web.wishes import NothingToDraw, Wish, channels_of

router = APIRouter(include_in_schema=False)
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
MEDIA = {"json": "application/json", "svg": "image/svg+xml", "png": "image/png", "pdf": "application/pdf"}
_MOST_POINTS = 200
_LEAST_ROOM = 240
SHOWN_METRICS = (
    *("alignment", "alignment_half", "alignment_one", "best_alignment", "best_exponent", "residual", "fact_alignment"),
    *("null_floor", "imbalance", "imbalance_relative", "train_loss", "test_loss", "relative_loss", "accuracy"),
    *("gradient_norm", "weight_norm", "agop_rank", "sharpness"),
)


Room = Annotated[int, Query(ge=0, le=8000, description="Width in pixels that the figure may take; 0 in print.")]


Kind = Literal["curves", "imbalance", "phase", "exponent", "profile", "spectra"]
KindOfTrials = Literal["scatter", "distribution", "difference", "parallel", "multiples", "boundary", "fit"]


def choices(
    figure: Annotated[Kind | KindOfTrials, Query()] = "curves",
    color: Annotated[str, Query(max_length=200)] = "",
    facet: Annotated[str, Query(max_length=1000)] = "",
    dash: Annotated[str, Query(max_length=200)] = "",
    metric: Annotated[str, Query(max_length=200)] = "",
    layer: Annotated[LayerText | None, BeforeValidator(lambda text: text or None), Query()] = None,
    against: Literal["step", "time"] = "step",
    complement: bool = False,
    where: Where = "",
    room: Room = 0,
    x: Annotated[str, Query(max_length=200)] = "",
    y: Annotated[str, Query(max_length=200)] = "",
    baseline: Annotated[str, Query(max_length=200)] = "",
) -> dict[str, Any]:
    """A figure's choices, as they stand in an address; without a metric or layer what the experiment measures first."""
    return {
        "figure": figure,
        "color": color,
        "facet": facet,
        "dash": dash,
        "metric": metric,
        "layer": layer,
        "against": against,
        "complement": complement,
        "where": where,
        "room": room,
        "x": x,
        "y": y,
        "baseline": baseline,
    }


Choices = Annotated[dict[str, Any], Depends(choices)]
Dark = Annotated[bool, Query(description="On a dark ground.")]


def filled(grid: Mapping[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """The choices with a metric and a layer, where they were left open those that the grid measures."""
    first = shown_first(grid)
    return chosen | {"metric": chosen["metric"] or first.metric, "layer": chosen["layer"] or first.layer}


def wish_of(one: Experiment, chosen: dict[str, Any]) -> Wish:
    """The choices with what was left open filled in from the grid, and names checked."""
    chosen = filled(one.grid, chosen)
    open_or_named = {name: chosen[name] or None for name in ("color", "dash", "facet")}
    told = channels_of(chosen["figure"], one.axes, one.grid, **open_or_named, x=chosen["x"])
    known_paths(",".join([told.color, *([told.dash] if told.dash else []), *told.facets]), "color, dash or facet")
    for name in ("x", "y"):
        known_variable(chosen[name], name)
    if len(numeric_metrics(chosen["metric"])) != 1:
        raise InvalidRequest("metric: name one")
    facet = ",".join(told.facets) or None
    named: dict[str, Any] = chosen | {"color": told.color, "dash": told.dash, "facet": facet, "title": one.name}
    named["axes"] = tuple(one.axes)
    return Wish(**named)


@router.get("/static/web/vega.js")
def vega(request: Request) -> Response:
    """The charting library, from this address like everything else."""
    made = charting.bundle()
    headers = {**_FOREVER, "ETag": made.etag, "Vary": "Accept-Encoding"}
    if made.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(made.zipped, media_type="text/javascript", headers={**headers, "Content-Encoding": "gzip"})
    return Response(made.plain, media_type="text/javascript", headers=headers)


@router.get("/experiments/{experiment_id}/figure.{form}")
def figure(experiment_id: str, form: str, store: StoreDep, chosen: Choices, dark: Dark = False) -> Response:
    """A figure as a Vega-Lite specification, SVG, PNG or PDF."""
    if form not in MEDIA:
        raise NotFound(f"figures are answered as {', '.join(MEDIA)}")
    one = get_experiment(store, experiment_id)
    chosen = chosen | {"room": max(chosen["room"], _LEAST_ROOM) if chosen["room"] else 0}
    try:
        chart = draw(wish_of(one, chosen), StoreSource(store, experiment_id, one.grid))
    except NothingToDraw as nothing:
        if form == "json":  # the page asks while trials run: nothing to draw is no error there
            return JSONResponse({"nothing": str(nothing)}, headers=HEADERS)
        raise NotFound(f"{one.id} has {nothing}") from nothing
    return answered(chart, form, dark=dark)


@router.get("/trials/{trial_id}/figure.{form}")
def trial_figure(
    trial_id: str,
    form: str,
    store: StoreDep,
    layer: Annotated[LayerText, Query()] = 1,
    dark: Dark = False,
    room: Room = 0,
) -> Response:
    """Every metric of a trial over its steps."""
    if form not in MEDIA:
        raise NotFound(f"figures are answered as {', '.join(MEDIA)}")
    series = trials.trial_series(store, trial_id, None, layer, _MOST_POINTS)
    chart = figures.trial_panels(series, title=f"trial {trial_id}", layer=layer, room=room and max(room, _LEAST_ROOM))
    if chart is None:
        if form == "json":
            return JSONResponse({"nothing": "nothing was measured yet"}, headers=HEADERS)
        raise NotFound(f"{trial_id} has no measurement yet")
    return answered(chart, form, dark=dark)


def answered(chart: Any, form: str, *, dark: bool) -> Response:
    """A figure in one of the forms of MEDIA."""
    spec = (figures.dark(chart) if dark else chart).to_dict(validate=False)
    content = json.dumps(spec) if form == "json" else charting.drawn(json.dumps(figures.untouched(spec)), form)
    return Response(content, media_type=MEDIA[form], headers=HEADERS)
