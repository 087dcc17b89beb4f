"""Trials as the API and the pages show them."""

import json
from operator import attrgetter
from typing import Any, Final

from service.api.deps import decode_cursor, encode_cursor
from service.errors import InvalidFilter, InvalidRequest
from service.grid.problems import Problems
from service.grid.reading import LAYERS, measured_names
from service.questions import filters
from service.states import TrialState
from service.store import attempts, trials
from service.store.ids import trial_id
from service.store.session import Store


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
    if sort is not None and sort != trials.AXES:
        _check_sort(sort)
    kind = f"trials {sort or ''}"
    found, following = trials.list_trials(
        store, experiment_id, state=state, where=where, sort=sort, limit=limit, after=_after(kind, cursor)
    )
    key = None if following is None else json.dumps(following, separators=(",", ":"))
    return {"items": [_body(one) for one in found], "next_cursor": encode_cursor(kind, key)}


def _check_sort(sort: str) -> None:
    """Refuse to sort by what is no path; the entry is about `sort`, not about the filter whose paths these are."""
    path = sort.removeprefix("-")
    try:
        filters.check_path(path)
    except InvalidFilter as error:
        entry = error.errors[0]
        problems = Problems()
        known = [trials.AXES, *entry.get("allowed", ())]
        if entry.get("allowed") is None:
            problems.add("sort", "only metrics of layers take a layer, counted from 1", received=path)
        else:
            problems.unknown("sort", "path", path, known, entry.get("nearest"))
        problems.raise_as(InvalidRequest)


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


def detail_of(store: Store, public_id: str) -> dict[str, Any]:
    """A trial as the API answers it. Raises NotFound."""
    one = trials.get_trial(store, public_id)
    with_layers = {"layers": {str(number): name for number, name in one.measured_layers.items()}}
    made = {"attempts": [record._asdict() for record in attempts.list_attempts(store, public_id)]}
    return _body(one) | with_layers | {"definitions": one.definitions} | made


_SHOWN: Final = (
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
_OWN: Final = attrgetter(*_SHOWN)


def _body(one: trials.Trial) -> dict[str, Any]:
    row = one.row
    # what a plain name repeats
    repeated = f"[{row.settings['measure']['layers'][0]}]"
    first, later = dict[str, Any](), dict[str, Any]()
    for name, value in one.final.items():
        if not name.endswith("]"):
            first[name] = value
        elif not name.endswith(repeated):
            later[name] = value
    body = {"id": trial_id(row.id), **dict(zip(_SHOWN, _OWN(row), strict=True))}
    body["settings"] = {name: section for name, section in row.settings.items() if name != LAYERS}
    body["layers"] = {str(number): name for number, name in measured_names(row.settings).items()}
    body["final"] = first | later
    return body
