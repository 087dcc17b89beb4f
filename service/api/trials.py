"""Trials of an experiment, one trial, and its measurements."""

import json
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query, Request, Response

from nfa_kernels import names
from service.api.deps import Cursor, Limit, StoreDep, Where, decode_cursor, encode_cursor
from service.api.etags import answer_once, etag_of, unchanged
from service.api.formats import FORMAT_RESPONSES, TableFormat, json_answer, table_answer
from service.api.query_names import known_metrics
from service.errors import InvalidRequest
from service.questions import filters
from service.questions.tables import column
from service.schemas import Page, TrialBody, TrialDetail
from service.states import TrialState
from service.store import attempts, trials
from service.store.ids import trial_id, trial_number
from service.store.session import Store
from service.store.versions import trial_version, version_of
from service.store.weights import weights_at

router = APIRouter(tags=["trials"])
_MOST_LOOKED_AT = 2_000
"""Trials of an experiment up to which a page of them costs more than knowing that none has changed."""


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
        str | None, Query(max_length=200, description="Path, or -path for descending; default: the grid's order.")
    ] = None,
) -> Response:
    """Trials with their settings and final values."""

    def make(headers: dict[str, str]) -> Response:
        return json_answer(page_of(store, experiment_id, limit, cursor, state, where, sort), headers)

    return answer_once(request, "json", version_of(store, [experiment_id], most_trials=_MOST_LOOKED_AT), make)


def page_of(
    store: Store,
    experiment_id: str,
    limit: int,
    cursor: str | None,
    state: TrialState | None,
    where: str,
    sort: str | None,
) -> dict[str, Any]:
    """A page of trials as the API answers it. Raises NotFound, InvalidRequest."""
    if sort is not None:
        filters.check_path(sort.removeprefix("-"))
    kind = f"trials {sort or ''}"
    found, following = trials.list_trials(
        store, experiment_id, state=state, where=where, sort=sort, limit=limit, after=_after(kind, cursor)
    )
    key = None if following is None else json.dumps(following, separators=(",", ":"))
    return {"items": [_body(one) for one in found], "next_cursor": encode_cursor(kind, key)}


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

    404 with code `weights_not_kept` lists the steps that are kept.
    """
    headers = etag_of(request, "safetensors", trial_version(store, trial_number(trial_id)))
    if (same := unchanged(request, headers)) is not None:
        return same
    found, content = weights_at(store, trial_id, step)
    headers |= {"Content-Disposition": f'attachment; filename="{trial_id}-{found}.safetensors"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _after(kind: str, cursor: str | None) -> trials.After | None:
    """Where the page before ended. Raises InvalidRequest for a cursor of another order, or made up."""
    key = decode_cursor(kind, cursor)
    if key is None:
        return None
    try:
        value, position = json.loads(key)
    except (ValueError, TypeError):
        value, position = "", -1
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63
    if not (value is None or is_number) or type(position) is not int or not 0 <= position < 2**62:
        raise InvalidRequest("cursor: give the `next_cursor` of the page before with the same sort, or none")
    return trials.After(value, position)


@router.get("/trials/{trial_id}", summary="One trial", response_model=TrialDetail)
def get_trial(trial_id: str, store: StoreDep, request: Request) -> Response:
    """A trial with its settings, final values, provenance and attempts."""
    version = trial_version(store, trial_number(trial_id))
    return answer_once(request, "json", version, lambda headers: json_answer(detail_of(store, trial_id), headers))


def detail_of(store: Store, public_id: str) -> dict[str, Any]:
    """A trial as the API answers it. Raises NotFound."""
    one = _body(trials.get_trial(store, public_id))
    return one | {"attempts": [record._asdict() for record in attempts.list_attempts(store, public_id)]}


@router.get(
    "/trials/{trial_id}/measurements",
    summary="A trial's measurements, as columns",
    response_model=dict[str, list[Any]],
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
        int | None, Query(ge=1, le=64, description="Layer whose metrics stand beside the network's.")
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
        return table_answer(form, found, lambda: _frame(found), f"{trial_id}-measurements", headers)

    return answer_once(request, form, trial_version(store, trial_number(trial_id)), make)


def _frame(columns: dict[str, list[Any]]) -> pl.DataFrame:
    return pl.DataFrame([column(name, values) for name, values in columns.items()])


def _body(one: trials.Trial) -> dict[str, Any]:
    row = one.row
    shown = (
        "fingerprint",
        "state",
        "settings",
        "seed",
        "attempt",
        "failures",
        "error",
        "last_step",
        "provenance",
        "created_at",
        "started_at",
        "ended_at",
    )
    first = {name: value for name, value in one.final.items() if not name.endswith("]")}
    later = {name: value for name, value in one.final.items() if name.endswith("]") and not _is_first(name, one)}
    return {"id": trial_id(row.id)} | {name: getattr(row, name) for name in shown} | {"final": first | later}


def _is_first(name: str, one: trials.Trial) -> bool:
    """Whether a name like alignment[1] repeats the plain name's value."""
    return name.endswith(f"[{one.row.settings['measure']['layers'][0]}]")
