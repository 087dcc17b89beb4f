"""Several experiments at once: what is ticked is cancelled, paused, resumed, tagged or deleted, after a question."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from service.api.access import ActorDep, require_change
from service.api.deps import SettingsDep, StoreDep
from service.errors import InvalidRequest, NotFound, ServiceError
from service.settings import Settings
from service.store import control
from service.store.experiments import Summary, get_summary
from service.store.session import Store
from service.tokens import Actor
from service.web.page_route import PageRoute, render

router = APIRouter(include_in_schema=False, route_class=PageRoute)
MOST: Final = 200
_LONGEST_TAG: Final = 100
_MOST_TAGS: Final = 50
Change = Callable[[Store, Summary, str, Settings], Any]


class Action(NamedTuple):
    """A button of the list."""

    verb: str
    warning: str
    change: Change


def _tagged(store: Store, one: Summary, tag: str, _settings: Settings) -> Any:
    if tag in one.tags:
        return one
    if len(one.tags) >= _MOST_TAGS:
        raise InvalidRequest(f"it has {_MOST_TAGS} tags, which is the most there may be: take one away first")
    return control.change_experiment(store, one.id, {"tags": [*one.tags, tag]})


ACTIONS: Final = {
    "cancel": Action(
        "Cancel",
        "Unfinished trials stop, unless another experiment wants them. What was measured is kept.",
        lambda store, one, _tag, _settings: control.cancel_experiment(store, one.id),
    ),
    "pause": Action(
        "Pause",
        "No more of their trials start; running ones go back to the queue.",
        lambda store, one, _tag, _settings: control.pause_experiment(store, one.id),
    ),
    "resume": Action(
        "Resume",
        "Paused ones go on.",
        lambda store, one, _tag, settings: control.resume_experiment(store, one.id, settings.max_queued),
    ),
    "tag": Action("Tag", "Each gets the tag beside its own.", _tagged),
    "delete": Action(
        "Delete",
        "They go with every trial that no other experiment holds, and all that was measured. Nothing brings it back.",
        lambda store, one, _tag, _settings: control.delete_experiment(store, one.id),
    ),
}


@router.get("/bulk")
def ask(
    store: StoreDep,
    action: Annotated[str, Query(max_length=20)] = "",
    experiments: Annotated[list[str] | None, Query(max_length=MOST)] = None,
) -> Response:
    """What would be done with which experiments; nothing is changed."""
    return _page(store, known(action), _named(experiments or ()))


def known(action: str) -> str:
    """What a button asks for. Raises InvalidRequest for another word."""
    if action not in ACTIONS:
        raise InvalidRequest(f"action: received {action[:50]!r}; there are {', '.join(ACTIONS)}")
    return action


def _named(given: Sequence[str]) -> list[str]:
    ids = [one for one in dict.fromkeys(given) if one]
    if not 1 <= len(ids) <= MOST:
        raise InvalidRequest(f"experiments: received {len(ids)}; tick 1 to {MOST} on the list")
    return ids


def _page(store: Store, action: str, ids: Sequence[str], problems: Sequence[str] = (), status: int = 200) -> Response:
    found = [one for one in (_summary(store, each) for each in ids) if one is not None]
    trials = sum(sum(one.counts.values()) for one in found)
    return render(
        "bulk.html", status, asked=action, action=ACTIONS[action], found=found, trials=trials, problems=problems
    )


def _summary(store: Store, experiment: str) -> Summary | None:
    try:
        return get_summary(store, experiment)
    except NotFound:
        return None


@router.post("/bulk")
async def do(request: Request, store: StoreDep, actor: ActorDep, settings: SettingsDep) -> Response:
    """Do it; back to the list, or to the question with what could not be done."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST + 10)
    except ValueError as error:
        raise InvalidRequest(f"a form names at most {MOST} experiments") from error
    return await run_in_threadpool(_done, fields, store, actor, settings)


def _done(fields: Sequence[tuple[str, str]], store: Store, actor: Actor, settings: Settings) -> Response:
    form = dict(fields)
    action = known(form.get("action", ""))
    ids = _named([value for name, value in fields if name == "experiments"])
    tag = form.get("tag", "").strip()
    if action == "tag" and not 1 <= len(tag) <= _LONGEST_TAG:
        raise InvalidRequest(f"tag: received {tag[:50]!r}; give a word of 1 to {_LONGEST_TAG} characters")
    if "\0" in tag:
        raise InvalidRequest("tag: holds a NUL character")
    found = [one for one in (_summary(store, each) for each in ids) if one is not None]
    # all or none: whoever may not change one of them is told before another is changed
    for one in found:
        require_change(actor, one.owner)
    problems, left = [], []
    for one in found:
        try:
            ACTIONS[action].change(store, one, tag, settings)
        except NotFound:
            continue  # deleted meanwhile by somebody else: there is nothing left to do
        except ServiceError as error:
            # a full queue, say, of one of several owners: the others are done
            problems.append(f"{one.id}: {error.detail}")
            left.append(one.id)
    if problems:
        return _page(store, action, left, problems, 422)
    return RedirectResponse("./", 303)
