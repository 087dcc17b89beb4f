"""One experiment's page: progress, figure, verdicts, results, trials, settings."""

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from nfa_kernels import names
from service.api.deps import Cursor, StoreDep, Where
from service.api.trial_bodies import page_of
from service.errors import ServiceError
from service.grid.inputs import names_measured
from service.grid.sampling import grouping
from service.grid.value_order import ValueOrder
from service.questions.pooling import short_names
from service.questions.shown_first import shown_first
from service.questions.waiting import why_it_waits
from service.states import TrialState
from service.store import experiments, results, trials, views
from service.store.claims import measured_in
from service.store.cluster import list_dispatchers
from service.store.experiments import Experiment
from service.store.found import asks_for_something, found_by
from service.store.incarnation import present_life
from service.store.layer_names import layers_of
from service.store.notifications import list_notifications
from service.store.remeasurements import keeps_weights, list_remeasurements
from service.store.rounds import searched
from service.store.session import Store
from service.store.verdicts import judged
from service.store.versions import version_of
from service.web import charting
from service.web.figure_pages import SHOWN_METRICS, Choices, filled, wish_of
from service.web.kept import Kept
from service.web.page_route import PageRoute, render
from service.web.result_tables import OFFERED_AGGREGATES, TableAsked, TableChoices, question_of, shown_table
from service.web.wishes import KINDS, PER_TRIAL

router = APIRouter(include_in_schema=False, route_class=PageRoute)
ROWS: Final = 50
_MOST_GROUPS: Final = 200
_FOLDED_AT: Final = 20
_WAITING_SECONDS: Final = 0.4
"""What a page waits in all for answers that may take long: it comes without them, and asks again."""
_COUNTED_AT_ONCE: Final = 20_000
"""Trials whose results a page waits for, however long they take."""


@router.get("/experiments/{experiment_id}")
def experiment(
    experiment_id: str,
    request: Request,
    store: StoreDep,
    chosen: Choices,
    cursor: Cursor = None,
    state: Annotated[str, Query(max_length=20)] = "",
    trials_where: Where = "",
    sort: Annotated[str, Query(max_length=200)] = "",
    *,
    shown: TableAsked,
) -> Response:
    """One experiment: progress, figure, verdicts, results, trials."""
    one = experiments.get_experiment(store, experiment_id)
    chosen = filled(one.grid, chosen)
    listed = {"state": state, "trials_where": trials_where, "sort": sort}
    answers = _Answers(request.app.state.kept_for_pages, store, experiment_id)
    return render(
        "experiment.html",
        one=one,
        total=sum(one.counts.values()),
        has_ended=one.progress >= 1,
        waits=_waits(store, one),
        again=list_remeasurements(store, experiment_id),
        keeps_weights=keeps_weights(store, experiment_id),
        measurable=[*names.METRICS],
        views=views.list_views(store, experiment_id),
        told=_told(store, experiment_id),
        fixed=_fixed(one.grid, one.axes),
        varied=_varied(one.grid, one.axes),
        short=dict(zip(one.axes, short_names(one.axes), strict=True)),
        listed_metrics=list(dict.fromkeys((shown_first(one.grid).metric, "train_loss"))),
        listed=listed,
        states=list(TrialState),
        **_figure(store, one, chosen),
        **_found(answers, one),
        **_table(answers, one, chosen, shown),
        **_trials(store, experiment_id, cursor, listed),
    )


def _waits(store: Store, one: Experiment) -> str:
    """Why nothing of it runs, where waiting alone will not do."""
    if one.progress >= 1 or one.counts.get(TrialState.RUNNING, 0):
        return ""
    return why_it_waits(one.grid, [found.resources for found in list_dispatchers(store) if found.is_alive])


class _Answers:
    """Answers about an experiment that are kept until it changes."""

    def __init__(self, kept: Kept, store: Store, experiment_id: str) -> None:
        self.store, self._kept, self._version = store, kept, version_of(store, [experiment_id])
        self._of = (present_life(store), experiment_id)
        self._until = time.monotonic() + _WAITING_SECONDS

    def get(self, what: Any, make: Callable[[], Any]) -> Any:
        return self._kept.get((*self._of, what), self._version, make)

    def soon(self, what: Any, make: Callable[[], Any]) -> Any:
        """None where it takes longer than the page may wait: it is made meanwhile."""
        seconds = max(0.0, self._until - time.monotonic())
        return self._kept.soon((*self._of, what), self._version, make, seconds)


def _figure(store: Store, one: Experiment, chosen: dict[str, Any]) -> dict[str, Any]:
    """What the figure's form offers and shows."""
    further = _further_metrics(store, one.id)
    return {
        "vega": charting.VERSION,
        "chosen": chosen,
        "wish": wish_of(one, chosen),
        "layers": layers_of(store, one.id),
        "figures": KINDS,
        "per_trial": PER_TRIAL,
        "metrics": list(dict.fromkeys((*SHOWN_METRICS, *further, chosen["metric"]))),
    }


def _found(answers: _Answers, one: Experiment) -> dict[str, Any]:
    """Verdicts, None while they are being judged; and what a search found."""
    store, verdicts, found = answers.store, list[Any](), None
    if one.claims:
        verdicts = answers.soon("verdicts", partial(judged, store, one))
    if asks_for_something(one.grid):
        found = answers.get("found", partial(found_by, store, one.id))
    rounds = searched(store, one.id).rounds if found and found["rounds"] else []
    return {"verdicts": verdicts, "found": found, "rounds": rounds}


def _table(answers: _Answers, one: Experiment, chosen: dict[str, Any], shown: TableChoices) -> dict[str, Any]:
    """The results, None while those of many trials are being counted, and what their form offers."""
    question = question_of(grouping(one.axes, one.grid), shown, chosen)
    ask = answers.get if sum(one.counts.values()) <= _COUNTED_AT_ONCE else answers.soon
    groups = ask(question, partial(results.group_table, answers.store, one.id, question))
    order = ValueOrder(lambda: [one.grid])
    return {
        "question": question,
        "table": None if groups is None else shown_table(groups, question, shown, order, _MOST_GROUPS),
        "shown_as": shown,
        "offered": list(dict.fromkeys((*OFFERED_AGGREGATES, *question.aggregates))),
        "folded": _FOLDED_AT,
    }


def _trials(store: Store, experiment_id: str, cursor: str | None, listed: dict[str, str]) -> dict[str, Any]:
    """A page of trials, or what is wrong with the question."""
    try:
        state = TrialState(listed["state"]) if listed["state"] in list(TrialState) else None
        order = listed["sort"] or trials.AXES
        found = page_of(store, experiment_id, ROWS, cursor, state, listed["trials_where"], order)
    except ServiceError as error:
        return {"trials": {"items": [], "next_cursor": None}, "problem": error.detail}
    return {"trials": found, "problem": ""}


def _told(store: Store, experiment_id: str) -> list[dict[str, Any]]:
    """Messages, with the host alone of whom they go to: the rest of an address may be a secret."""
    return [one | {"host": urlsplit(one["url"]).hostname} for one in list_notifications(store, experiment_id, 20)]


def _varied(grid: dict[str, Any], axes: list[str]) -> dict[str, tuple[Any, str]]:
    """Path -> the values it takes as written, and the path that it moves with."""
    found: dict[str, tuple[Any, str]] = {path: (values, "") for path, values in (grid.get("axes") or {}).items()}
    for group in grid.get("zip") or ():
        first = next(iter(group))
        found |= {path: (values, "" if path == first else first) for path, values in group.items()}
    order = ValueOrder(lambda: [grid])
    known = {path: found.get(path, ("as included", "")) for path in axes}
    return {
        path: (order.sorted(path, values) if isinstance(values, list) else values, leader)
        for path, (values, leader) in known.items()
    }


def _further_metrics(store: Store, experiment: str) -> list[str]:
    """Numbers that were measured again, or over other inputs than the training set."""
    measured = [names_measured(one["measure"]) for one in measured_in(store, experiment)]
    found = sorted({name for some in measured for name in some if not names.words_of(name)})
    again = {name for one in list_remeasurements(store, experiment) for name in one.metrics}
    return [name for name in found if name in again or names.split_inputs(name)[1] != names.TRAIN]


def _fixed(grid: dict[str, Any], axes: list[str]) -> dict[str, Any]:
    """Settings that the grid gives and that do not vary."""
    given = {
        f"{section}.{name}": value
        for section, values in (grid.get("trial") or {}).items()
        if isinstance(values, dict)
        for name, value in values.items()
    }
    return {path: value for path, value in given.items() if path not in axes}
