"""The pages: each asks the store as the API does, and renders."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from nfa_kernels import names
from service.api.access import COOKIE, ActorDep
from service.api.deps import Cursor, SettingsDep, StoreDep, Where, encode_cursor, number_cursor
from service.api.forwarding import Asked
from service.api.grid_bodies import EXAMPLE_YAML
from service.api.reserved_threads import threads_of
from service.api.sign_ins import peer_of
from service.api.trial_bodies import detail_of
from service.errors import InvalidRequest, ServiceError, Unauthorised
from service.grid.document import parse_document
from service.grid.help import settings_help
from service.grid.json_schema import grid_schema
from service.presets import get_preset, list_presets
from service.questions.layers import LayerText
from service.settings import Settings
from service.states import ExperimentState, TrialState
from service.store import attempts, experiments, submissions, trials
from service.store import cluster as cluster_store
from service.store.activity import activity
from service.store.expansions import cost_of, expanded
from service.store.neighbours import neighbours
from service.store.session import Store
from service.tokens import Actor
from service.web import charting
from service.web.activity_bars import bars
from service.web.page_route import HEADERS, PageRoute, form_of, render
from service.web.selected_grids import selected_text
from service.web.written_grids import as_yaml

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_ROWS = 50
_MOST_GROUPS = 200


@router.get("/")
def index(
    store: StoreDep,
    cursor: Cursor = None,
    state: Annotated[str, Query(max_length=20)] = "",
    tag: Annotated[str, Query(max_length=100)] = "",
    q: Annotated[str, Query(max_length=200)] = "",
    *,
    starred: bool = False,
) -> Response:
    """Experiments, newest first."""
    charting.prepare()
    chosen = ExperimentState(state) if state in list(ExperimentState) else None
    before = number_cursor("experiments", cursor)
    found, following = experiments.list_experiments(
        store, state=chosen, tag=tag or None, q=q or None, starred=starred or None, limit=_ROWS, before=before
    )
    live = any(one.state in (ExperimentState.RUNNING, ExperimentState.QUEUED) for one in found)
    return render(
        "experiments.html",
        found=found,
        next_cursor=encode_cursor("experiments", following),
        states=list(ExperimentState),
        chosen={"state": state, "tag": tag, "q": q, "starred": "true" if starred else ""},
        live=live,
    )


@router.get("/trials/{trial_id}")
def trial(
    trial_id: str,
    store: StoreDep,
    layer: Annotated[LayerText | None, Query()] = None,
    experiment: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """One trial: settings, measurements, attempts, provenance, and the command that reruns it alone."""
    one = detail_of(store, trial_id)
    measured = one["layers"]
    layer = layer or int(next(iter(measured)))
    layer = measured.get(str(layer)) or layer
    holders = experiments.experiments_of_trial(store, trial_id)
    holder = next((held for held in holders if held.id == experiment), holders[0] if holders else None)
    series = trials.trial_series(store, trial_id, None, layer, _MOST_GROUPS)
    return render(
        "trial.html",
        one=one,
        series=series,
        rows=list(zip(*series.values(), strict=True)),
        layer=layer,
        measured=measured,
        attempts=attempts.list_attempts(store, trial_id),
        holders=holders,
        holder=holder,
        neighbours=neighbours(store, holder.id, trial_id) if holder else [],
        grid=_alone(one),
        vega=charting.VERSION,
        kept=one["settings"]["measure"].get("weights") or [],
    )


@router.get("/trials/{trial_id}/grid.json")
def trial_grid(trial_id: str, store: StoreDep) -> Response:
    """The grid that trains this trial alone, as a file."""
    named = {"Content-Disposition": f'attachment; filename="{trial_id}.json"'}
    return Response(_alone(detail_of(store, trial_id)), media_type="application/json", headers=HEADERS | named)


def _alone(one: dict[str, Any]) -> str:
    """A grid of one trial, a line for each section."""
    sections = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in one["settings"].items())
    name = json.dumps(f"trial {one['id']} alone")
    return f'{{"name": {name},\n "trial": {{\n{sections}}},\n "seeds": [{one["seed"]}]}}'


@router.get("/grid-schema.json")
def schema() -> Response:
    """The grid format as JSON Schema, for editors: open, since they send no token."""
    kept = {"X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=3600"}
    return Response(json.dumps(grid_schema()), media_type="application/schema+json", headers=kept)


@router.get("/submit")
def submit_form(
    store: StoreDep,
    preset: Annotated[str, Query(max_length=100)] = "",
    experiment: Annotated[str, Query(max_length=40)] = "",
    trial: Annotated[str, Query(max_length=40)] = "",
    trials: Annotated[list[str] | None, Query(max_length=_ROWS)] = None,
    where: Where = "",
    state: Annotated[str, Query(max_length=20)] = "",
    *,
    selected: bool = False,
) -> Response:
    """Write a grid, or start from a preset, an experiment's grid, a trial, or trials of it that are selected."""
    text = get_preset(preset).body.decode() if preset else EXAMPLE_YAML
    if experiment and (trials or selected):
        text = selected_text(store, experiment, trials or (), where, state if state in list(TrialState) else None)
    elif experiment:
        text = as_yaml(experiments.get_experiment(store, experiment).grid)
    if trial:
        text = as_yaml(json.loads(_alone(detail_of(store, trial))))
    charting.prepare()
    return _submit_page(text, preset=preset)


@router.post("/submit")
async def submit(request: Request, store: StoreDep, actor: ActorDep, settings: SettingsDep) -> Response:
    """Preview a grid or queue its trials; what is wrong with it stands beside it."""
    form = await form_of(request)
    return await run_in_threadpool(_submitted, request, form, store, actor, settings)


def _submitted(request: Request, form: dict[str, str], store: Store, actor: Actor, settings: Settings) -> Response:
    text = form.get("grid", "")
    try:
        document = parse_document(text.encode())
        expansion = expanded(store, document, settings.limits)
        if form.get("do") == "preview":
            return _submit_page(text, cost=cost_of(store, expansion))
        created = submissions.create_experiment(
            store, expansion, owner=actor.owner, max_queued=settings.max_queued, document=document
        )
        request.state.made_experiment = created.id
    except ServiceError as error:
        return _submit_page(text, error=error)
    return RedirectResponse(f"experiments/{created.id}", 303)


def _submit_page(text: str, *, preset: str = "", cost: Any = None, error: ServiceError | None = None) -> Response:
    status = error.status if error else 200
    return render(
        "submit.html",
        status,
        text=text,
        preset=preset,
        presets=list_presets(),
        cost=cost,
        error=error,
        settings=settings_help(),
    )


@router.get("/cluster")
def cluster(store: StoreDep) -> Response:
    """Who works on the queue."""
    found = cluster_store.snapshot(store)
    alive = [one for one in found.dispatchers if one.is_alive]
    trainers = [(one, trainer) for one in alive for trainer in one.resources.get("trainers", ())]
    stacks = [(one, stack) for one in alive for stack in one.resources.get("stacks", ())]
    now = activity(store)
    return render("cluster.html", found=found, trainers=trainers, stacks=stacks, now=now, bars=bars(now.buckets))


@router.get("/definitions")
def definitions() -> Response:
    """What each metric is."""
    return render("definitions.html", items=names.METRICS | names.METRIC_FAMILIES)


@router.get("/login")
def login_form(request: Request) -> Response:
    """Where a token is given once, to be kept in a cookie that scripts cannot read."""
    return render("login.html", error="", signed_in=COOKIE in request.cookies)


@router.post("/logout")
def logout(request: Request) -> Response:
    """Forget the token that this browser keeps; the token itself still opens what it opened."""
    answer = RedirectResponse("login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", **_where(request))
    return answer


@router.post("/login")
async def login(request: Request, store: StoreDep) -> Response:
    """Keep a token that opens something."""
    token = (await form_of(request)).get("token", "").strip()
    sign_ins, threads = request.app.state.sign_ins, threads_of(request).callers
    if await sign_ins.actor_of(store, threads, token, peer_of(request.scope), is_typed=True) is None:
        error = Unauthorised("this token opens nothing: it was revoked, has expired, or never was")
        return render("login.html", 401, error=error.detail, signed_in=False)
    answer = RedirectResponse("./", 303)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=30 * 86_400, **_where(request))
    return answer


def _where(request: Request) -> dict[str, Any]:
    """Where a browser sends the cookie: to our own paths alone, and by TLS alone if it came by TLS."""
    asked: Asked = request.state.asked
    return {"path": f"{asked.prefix}/", "secure": asked.scheme == "https"}


def known_action(name: str, actions: dict[str, Any]) -> Any:
    """What a button asks for. Raises InvalidRequest for another word."""
    if name not in actions:
        raise InvalidRequest(f"action: received {name[:50]!r}; there are {', '.join(actions)}")
    return actions[name]
