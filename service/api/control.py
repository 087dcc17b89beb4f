"""Cancel, pause, resume, retry, extend, measure, change and delete experiments; add claims and views to them."""

from dataclasses import asdict
from typing import Annotated, Any

from anyio import from_thread
from fastapi import APIRouter, Depends, Path, Request

from service.api.access import ActorDep, require_change
from service.api.deps import SettingsDep, StoreDep
from service.api.experiments import detail, submitted
from service.errors import InvalidClaims
from service.grid.problems import Problems
from service.questions.claimed_grids import check_claims
from service.questions.judging import parse_claims
from service.schemas.changes import Changes, Extension, Measuring, NewClaims, NewView, Retry, Thinning
from service.schemas.experiments import ExperimentDetail, Extended, RemeasurementBody, Thinned, ViewBody
from service.schemas.results import Verdicts
from service.store import claims as claim_store
from service.store import control, views
from service.store.expansions import widen_experiment
from service.store.experiments import owner_of
from service.store.remeasurements import measure_again
from service.store.thinning import thin_experiment
from service.store.verdicts import judged


def _may_change(experiment_id: str, store: StoreDep, actor: ActorDep) -> None:
    """Only an experiment's owner and admins get further."""
    require_change(actor, owner_of(store, experiment_id))


router = APIRouter(prefix="/experiments/{experiment_id}", tags=["experiments"], dependencies=[Depends(_may_change)])


@router.post("/cancel", summary="Cancel an experiment", response_model=ExperimentDetail)
def cancel(experiment_id: str, store: StoreDep) -> dict[str, Any]:
    """Stop its unfinished trials, unless another experiment wants them; what was measured is kept."""
    return detail(store, control.cancel_experiment(store, experiment_id))


@router.post("/pause", summary="Pause an experiment", response_model=ExperimentDetail)
def pause(experiment_id: str, store: StoreDep) -> dict[str, Any]:
    """Start no more trials for it; those that run for it alone go back to the queue. No change where all have ended."""
    return detail(store, control.pause_experiment(store, experiment_id))


@router.post("/resume", summary="Go on after a pause", response_model=ExperimentDetail)
def resume(experiment_id: str, store: StoreDep, settings: SettingsDep) -> dict[str, Any]:
    """Let its queued trials run again; no change where it was not paused."""
    return detail(store, control.resume_experiment(store, experiment_id, settings.max_queued))


@router.post("/retry", summary="Run some of its ended trials again", response_model=ExperimentDetail)
def retry(experiment_id: str, body: Retry, store: StoreDep, settings: SettingsDep) -> dict[str, Any]:
    """Queue its failed, diverged or cancelled trials again, for every experiment that shares them."""
    return detail(store, control.retry_experiment(store, experiment_id, body.which, settings.max_queued))


@router.post("/thin", summary="Thin its measurements", response_model=Thinned)
def thin(experiment_id: str, body: Thinning, store: StoreDep) -> dict[str, Any]:
    """Keep every n-th measured step of its ended trials that no other experiment holds, and the first and the last."""
    return asdict(thin_experiment(store, experiment_id, body.keep_every))


@router.post("/extend", summary="Add axis values, seeds, sampled points or steps", response_model=Extended)
def extend(experiment_id: str, body: Extension, store: StoreDep, settings: SettingsDep) -> dict[str, Any]:
    """Widen its grid to the union of its own and the given values, seeds and length; only what is new is run.

    Trials that are longer than others go on from where these end, if their state is kept.
    """
    limits = settings.limits, settings.max_queued
    further = {"steps": body.steps, "sample": body.sample}
    created, shared = widen_experiment(store, experiment_id, body.axes, body.seeds, *limits, **further)
    return submitted(created).model_dump() | asdict(shared)


@router.post("/measure", summary="Measure kept weights again", response_model=RemeasurementBody)
def measure(experiment_id: str, body: Measuring, store: StoreDep, settings: SettingsDep) -> dict[str, Any]:
    """Queue the weights that its ended trials have kept to be measured, without training; a repeat adds nothing."""
    return asdict(measure_again(store, experiment_id, body.asked(), settings.max_queued))


@router.post("/claims", summary="Add claims", response_model=Verdicts)
def add_claims(experiment_id: str, body: NewClaims, store: StoreDep) -> dict[str, Any]:
    """Add statements to be judged, also when everything has ended; answers all verdicts. A repeat adds nothing."""
    claims, problems = parse_claims(body.claims), Problems()
    check_claims(claims, claim_store.measured_in(store, experiment_id), problems)
    problems.raise_as(InvalidClaims)
    return {"items": judged(store, claim_store.add_claims(store, experiment_id, body.claims))}


@router.patch("", summary="Change name, tags, notes, star or priority", response_model=ExperimentDetail)
def change(experiment_id: str, body: Changes, store: StoreDep) -> dict[str, Any]:
    """A new priority holds for what still waits."""
    return detail(store, control.change_experiment(store, experiment_id, body.model_dump(exclude_none=True)))


@router.post("/views", summary="Save a view of its page", response_model=ViewBody, status_code=201)
def save_view(experiment_id: str, body: NewView, store: StoreDep) -> dict[str, Any]:
    """Keep the parameters of its page's address under a name; a view of the same name is replaced."""
    return asdict(views.save_view(store, experiment_id, body.name, body.parameters))


@router.delete("/views/{view_id}", summary="Delete a saved view", status_code=204)
def delete_view(experiment_id: str, view_id: Annotated[int, Path(ge=1, le=2**62)], store: StoreDep) -> None:
    """Forget it; the experiment stays as it is."""
    views.delete_view(store, experiment_id, view_id)


@router.delete("", summary="Delete an experiment", status_code=204)
def delete(experiment_id: str, request: Request, store: StoreDep) -> None:
    """Delete it, and every trial that no other experiment holds with all that was measured of it.

    It is gone with the answer; the room that a large one took on the disk is free a little later.
    """
    control.delete_experiment(store, experiment_id)
    from_thread.run_sync(request.app.state.deleted.set)
