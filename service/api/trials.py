"""Trials of an experiment, one trial, and its measurements."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from nfa_kernels import names
from service.api.deps import Cursor, Limit, StoreDep, Where
from service.api.etags import answer_once, etag_of, unchanged
from service.api.formats import FORMAT_RESPONSES, TableFormat, json_answer, table_answer
from service.api.query_names import known_metrics
from service.api.trial_bodies import detail_of, page_of
from service.errors import InvalidRequest
from service.questions.layers import LayerText
from service.questions.tables import series_table
from service.schemas.bodies import Page
from service.schemas.experiments import ExperimentBody
from service.schemas.results import TrialSeries
from service.schemas.trials import TrialBody, TrialDetail
from service.states import TrialState
from service.store import experiments, trials
from service.store.ids import trial_number
from service.store.versions import trial_version, version_of
from service.store.weights import weights_at

router = APIRouter(tags=["trials"])


@router.get("/experiments/{experiment_id}/trials", summary="Trials of an experiment", response_model=Page[TrialBody])
def list_trials(
    experiment_id: str,
    store: StoreDep,
    request: Request,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: TrialState | None = None,
    where: Where = "",
    sort: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Path, or -path for descending; axes: as groups of a table; default: the grid's order.",
        ),
    ] = None,
) -> Response:
    """Trials with their settings and final values."""

    with store.snapshot() as seen:

        def make(headers: dict[str, str]) -> Response:
            return json_answer(page_of(seen, experiment_id, limit, cursor, state, where, sort), headers)

        return answer_once(request, "json", version_of(seen, [experiment_id]), make)


@router.get(
    "/trials/{trial_id}/weights",
    summary="A trial's weights at a kept step",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "Not changed since the ETag given under If-None-Match"},
    },
)
def get_weights(
    trial_id: str,
    store: StoreDep,
    request: Request,
    step: Annotated[int | None, Query(ge=0, le=2**53, description="One of measure.weights; default: the last.")] = None,
) -> Response:
    """A .safetensors file: `w1` .. `wL` of shape (d_l, d_{l-1}) and, with biases, `b1` .. `bL`, in the trial's dtype.

    Of a network that is a graph, every parameter by its layer's name: `conv1.weight`, `attention1.query.weight`.

    404 with code `weights_not_kept` lists the steps that are kept.
    """
    headers = etag_of(request, "safetensors", trial_version(store, trial_number(trial_id)))
    if (same := unchanged(request, headers)) is not None:
        return same
    found, content = weights_at(store, trial_id, step)
    headers |= {"Content-Disposition": f'attachment; filename="{trial_id}-{found}.safetensors"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/trials/{trial_id}", summary="One trial", response_model=TrialDetail)
def get_trial(trial_id: str, store: StoreDep, request: Request) -> Response:
    """A trial with its settings, final values, provenance and attempts."""
    version = trial_version(store, trial_number(trial_id))
    return answer_once(request, "json", version, lambda headers: json_answer(detail_of(store, trial_id), headers))


@router.get(
    "/trials/{trial_id}/experiments", summary="Experiments that hold a trial", response_model=Page[ExperimentBody]
)
def get_experiments(trial_id: str, store: StoreDep) -> dict[str, Any]:
    """Every experiment whose grid has this trial, the oldest first: a trial is trained once for all of them."""
    items = [asdict(one) for one in experiments.experiments_of_trial(store, trial_id)]
    return {"items": items, "next_cursor": None}


@router.get(
    "/trials/{trial_id}/measurements",
    summary="A trial's measurements, as columns",
    response_model=TrialSeries,
    responses=FORMAT_RESPONSES,
)
def get_measurements(
    trial_id: str,
    store: StoreDep,
    request: Request,
    form: TableFormat,
    metrics: Annotated[
        str | None, Query(max_length=2000, description="Comma-separated ids; default: every measured one.")
    ] = None,
    layer: Annotated[
        LayerText | None, Query(description="Layer whose metrics stand beside the network's: number, or name.")
    ] = None,
    max_points: Annotated[
        int | None, Query(ge=1, le=1_000_000, description="Thin to so many steps, first and last kept.")
    ] = None,
) -> Response:
    """Arrays of equal length by column: `step` and `time` always, then metrics; undefined is null."""
    chosen = None if metrics is None else known_metrics(metrics)
    layered = [name for name in chosen or () if name not in names.NETWORK_METRICS]
    if layered and layer is None:
        raise InvalidRequest(f"metrics: {', '.join(layered)} belong to a layer: add layer=1, or the layer you mean")

    def make(headers: dict[str, str]) -> Response:
        found = trials.trial_series(store, trial_id, chosen, layer, max_points)
        return table_answer(form, found, lambda: series_table(found), f"{trial_id}-measurements", headers)

    return answer_once(request, form, trial_version(store, trial_number(trial_id)), make)
