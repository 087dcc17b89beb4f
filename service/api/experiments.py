"""Submit, preview, list and look at experiments."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from service.api.access import ActorDep
from service.api.deps import Cursor, Limit, SettingsDep, StoreDep, encode_cursor, number_cursor
from service.api.grid_bodies import OPENAPI_BODY, BodyDep, GridDep
from service.grid.axes import read_factors
from service.grid.data_shapes import DataShape
from service.grid.expansion import Expansion
from service.grid.problems import Problems
from service.grid.shown_networks import shown_networks
from service.planning.planner import bound
from service.schemas.bodies import Page
from service.schemas.experiments import (
    ExperimentBody,
    ExperimentDetail,
    Notifications,
    Preview,
    Remeasurements,
    Submitted,
    TrialCounts,
    ViewBody,
)
from service.states import ExperimentState
from service.store import experiments, submissions, views
from service.store.expansions import cost_of
from service.store.notifications import list_notifications
from service.store.remeasurements import list_remeasurements
from service.store.session import Store
from service.store.step_counts import count_steps

router = APIRouter(prefix="/experiments", tags=["experiments"])
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="A fresh word per request: repeats with the same key and body answer the first experiment.",
    ),
]


@router.post("", status_code=201, summary="Submit a grid", response_model=Submitted, openapi_extra=OPENAPI_BODY)
def submit(
    grid: GridDep,
    body: BodyDep,
    store: StoreDep,
    actor: ActorDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Submitted:
    """Store a grid as an experiment and queue its trials; those that exist already are reused as they are."""
    created = submissions.create_experiment(
        store,
        grid.expansion,
        owner=actor.owner,
        max_queued=settings.max_queued,
        document=grid.document,
        idempotency_key=idempotency_key,
        body_digest=hashlib.sha256(body).hexdigest(),
    )
    response.headers["Location"] = f"/api/v1/experiments/{created.id}"
    if created.is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    else:
        request.state.made_experiment = created.id
    return submitted(created)


def submitted(created: submissions.Created) -> Submitted:
    """What is answered to a submission or an extension."""
    counts = TrialCounts(total=created.total, new=created.new, reused=created.reused)
    return Submitted(id=created.id, name=created.name, state=created.state, trials=counts)


@router.post("/preview", summary="What a grid would cost", response_model=Preview, openapi_extra=OPENAPI_BODY)
def preview(grid: GridDep, store: StoreDep, settings: SettingsDep) -> Preview:
    """Count trials, stacks and seconds of a grid; nothing is stored."""
    expansion, plan = grid.expansion, grid.plan
    search = asdict(bound(plan, len(expansion), settings.max_trials)) if plan else None
    axes = {path: list(values) for path, values in expansion.axes.items()}
    networks = [asdict(one) for one in shown_networks(_graphs(expansion))]
    derived = {path: list(values) for path, values in expansion.derived.items()}
    together = _together(grid.document, axes)
    ignored = list(expansion.ignored)
    cost = asdict(cost_of(store, expansion))
    body = {**cost, "axes": axes, "together": together, "derived": derived, "ignored": ignored}
    body |= {"networks": networks, "search": search}
    return Preview.model_validate(body)


def _graphs(expansion: Expansion) -> Iterator[tuple[Mapping[str, Any], DataShape]]:
    """Networks that are not fully connected, with the sizes of their data; a few stand for many points."""
    known: dict[str, Mapping[str, Any]] = {}
    seen: set[tuple[str, DataShape]] = set()
    for point in expansion.points:
        text = point.part_text("network")
        if text not in known:
            known[text] = point.part("network")
        if "kind" in known[text] and (text, point.shape) not in seen:
            seen.add((text, point.shape))
            yield known[text], point.shape


def _together(document: Mapping[str, Any], axes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The paths that one index of the product moves: those of a zip group, or of the mappings on an axis."""
    moved = {path: written for path, written in (document.get("axes") or {}).items() if path not in axes}
    factors = read_factors(moved, document.get("zip") or (), Problems())
    groups = [([path for path in factor.paths if path in axes], len(factor.choices)) for factor in factors]
    return [{"paths": paths, "values": values} for paths, values in groups if len(paths) > 1]


@router.get("", summary="List experiments, newest first", response_model=Page[ExperimentBody])
def list_experiments(
    store: StoreDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: ExperimentState | None = None,
    tag: Annotated[str | None, Query(max_length=100)] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of name, notes or a tag, in any case.")] = None,
    starred: Annotated[bool | None, Query(description="Only those with a star, or only those without.")] = None,
) -> dict[str, Any]:
    """Experiments with their counts and progress."""
    before = number_cursor("experiments", cursor)
    found, following = experiments.list_experiments(
        store, state=state, tag=tag, q=q, starred=starred, limit=limit, before=before
    )
    return {"items": [asdict(one) for one in found], "next_cursor": encode_cursor("experiments", following)}


@router.get("/{experiment_id}/views", summary="Saved views", response_model=Page[ViewBody])
def list_views(experiment_id: str, store: StoreDep) -> dict[str, Any]:
    """Views of its page that were saved, by name."""
    return {"items": [asdict(one) for one in views.list_views(store, experiment_id)], "next_cursor": None}


@router.get("/{experiment_id}/notifications", summary="What was told to whom", response_model=Notifications)
def get_notifications(experiment_id: str, store: StoreDep) -> dict[str, Any]:
    """Messages to the addresses of the grid's `notify`: delivered, waiting, or given up and why."""
    return {"items": list_notifications(store, experiment_id)}


@router.get("/{experiment_id}", summary="One experiment", response_model=ExperimentDetail)
def get_experiment(
    experiment_id: str,
    store: StoreDep,
    grid: Annotated[bool, Query(description="false: without it, for whoever looks often.")] = True,
) -> dict[str, Any]:
    """An experiment with its grid, counts and progress."""
    return detail(store, experiments.get_experiment(store, experiment_id, with_grid=grid))


@router.get("/{experiment_id}/measure", summary="What was asked of kept weights", response_model=Remeasurements)
def list_measured_again(experiment_id: str, store: StoreDep) -> dict[str, Any]:
    """Every request to measure its kept weights again, with how far it is."""
    return {"items": [asdict(one) for one in list_remeasurements(store, experiment_id)]}


def detail(store: Store, one: experiments.Experiment) -> dict[str, Any]:
    """What is answered about one experiment."""
    # its grid as it is: copying one of 100,000 seeds takes longer than all the rest
    return vars(one) | {"steps": asdict(count_steps(store, one.id))}
