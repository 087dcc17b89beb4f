"""The buttons of an experiment's page: plain forms, so that they work without JavaScript."""

from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from service.api.access import ActorDep, require_change
from service.api.deps import SettingsDep, StoreDep
from service.errors import InvalidRequest
from service.grid.document import parse_document
from service.grid.remeasurement import read_remeasuring
from service.schemas.changes import Changes, NewView
from service.settings import Settings
from service.store import control, views
from service.store.expansions import widen_experiment
from service.store.experiments import owner_of
from service.store.remeasurements import measure_again
from service.store.session import Store
from service.web.page_route import PageRoute, form_of
from service.web.pages import known_action

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.post("/experiments/{experiment_id}/{action}")
async def steer(
    experiment_id: str, action: str, request: Request, store: StoreDep, actor: ActorDep, settings: SettingsDep
) -> Response:
    """Cancel, pause, resume, retry, extend or measure; back to the experiment's page."""
    form = await form_of(request)
    chosen = known_action(action, _ACTIONS)
    owner = await run_in_threadpool(owner_of, store, experiment_id)
    require_change(actor, owner)
    await run_in_threadpool(chosen, experiment_id, form, store, settings)
    shown = form.get("shown", "") if action in ("save-view", "describe", "star") else ""
    return RedirectResponse(f"../{experiment_id}{'?' if shown else ''}{shown}", 303)


def _retry(experiment: str, form: dict[str, str], store: Store, settings: Settings) -> Any:
    which = form.get("which", "")
    if which not in ("failed", "diverged", "cancelled"):
        raise InvalidRequest(f"which: received {which[:50]!r}; choose failed, diverged or cancelled")
    return control.retry_experiment(store, experiment, which, settings.max_queued)


def _extend(experiment: str, form: dict[str, str], store: Store, settings: Settings) -> Any:
    path, written = form.get("path", "").strip(), form.get("values", "").strip()
    seeds = form.get("seeds", "").strip() or "0"
    if not seeds.isdecimal() or len(seeds) > 7:
        raise InvalidRequest(f"seeds: received {seeds[:50]!r}; give a number n for the seeds 0 .. n-1")
    steps = form.get("steps", "").strip()
    if steps and (not steps.isdecimal() or len(steps) > 10 or not int(steps)):
        raise InvalidRequest(f"steps: received {steps[:50]!r}; give how many steps to train, more than so far")
    axes = {path: parse_document(f"values: [{written}]".encode())["values"]} if path and written else {}
    limits, longer = (settings.limits, settings.max_queued), int(steps) if steps else None
    return widen_experiment(store, experiment, axes, int(seeds), *limits, steps=longer)


def _measure(experiment: str, form: dict[str, str], store: Store, settings: Settings) -> Any:
    written = {name: form.get(name, "").strip() for name in ("metrics", "layers", "at")}
    body: dict[str, Any] = {"metrics": _listed(written["metrics"]), "at": written["at"] or "all"}
    if written["layers"]:
        body["layers"] = _listed(written["layers"])
    if form.get("inputs", "").strip():
        body["inputs"] = _listed(form["inputs"].strip() + ",")
    if body["at"] not in ("all", "final"):
        body["at"] = _listed(body["at"])
    return measure_again(store, experiment, read_remeasuring(body).asked(), settings.max_queued)


def _listed(text: str) -> Any:
    """A word that stands alone as it is, else a list of names and whole numbers."""
    if text in ("default", "all", "first"):
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return [int(part) if part.isdecimal() and len(part) < 10 else part for part in parts]


def _describe(experiment: str, form: dict[str, str], store: Store, _settings: Settings) -> Any:
    tags = [part.strip() for part in form.get("tags", "").split(",") if part.strip()]
    try:
        changes = Changes(name=form.get("name", "").strip(), notes=form.get("notes", ""), tags=tags)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InvalidRequest(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
    return control.change_experiment(store, experiment, changes.model_dump(exclude_none=True))


def _star(experiment: str, form: dict[str, str], store: Store, _settings: Settings) -> Any:
    return control.change_experiment(store, experiment, {"starred": form.get("starred") == "true"})


def _save_view(experiment: str, form: dict[str, str], store: Store, _settings: Settings) -> Any:
    try:
        parameters = dict(parse_qsl(form.get("shown", ""), max_num_fields=60))
        view = NewView(name=form.get("view", "").strip(), parameters=parameters)
    except ValueError as error:
        raise InvalidRequest("view: give it a name of 1 to 100 characters") from error
    return views.save_view(store, experiment, view.name, view.parameters)


def _delete_view(experiment: str, form: dict[str, str], store: Store, _settings: Settings) -> Any:
    number = form.get("view", "")
    if not number.isdecimal() or len(number) > 18:
        raise InvalidRequest(f"view: received {number[:50]!r}; give the number of a saved view")
    return views.delete_view(store, experiment, int(number))


_ACTIONS = {
    "cancel": lambda experiment, _form, store, _settings: control.cancel_experiment(store, experiment),
    "pause": lambda experiment, _form, store, _settings: control.pause_experiment(store, experiment),
    "resume": lambda experiment, _form, store, settings: control.resume_experiment(
        store, experiment, settings.max_queued
    ),
    "retry": _retry,
    "extend": _extend,
    "measure": _measure,
    "describe": _describe,
    "star": _star,
    "save-view": _save_view,
    "delete-view": _delete_view,
}
