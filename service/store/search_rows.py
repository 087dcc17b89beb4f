"""What searches know of an experiment's trials: no more than they ask for, since it is read again in every round."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from service.grid.reading import setting
from service.planning.plan import Plan
from service.questions.filters import Lookup
from service.questions.judging import Row
from service.states import TrialState
from service.store.experiments import require
from service.store.finals import final_lookups
from service.store.ids import trial_id
from service.store.keys import listed
from service.store.known_settings import documents_of
from service.store.members import Member, members_in
from service.store.session import Store
from service.store.verdicts import claim_rows_in

_MEASURED: Final = (TrialState.COMPLETED, TrialState.DIVERGED)
_NOTHING: Final[Mapping[str, Any]] = {}
Known = dict[tuple[int, int], Row]
"""Key and attempt of a trial that has ended with all final values -> what is told of it: it stays what it is."""


def search_rows(store: Store, public_id: str, plan: Plan, known: Known | None = None) -> Mapping[str, list[Row]]:
    """Id of each of `plan.asks` -> every trial of the experiment, of one moment of the store. Raises NotFound.

    What is `known` from an earlier round is not read again, and what is read is added to it.
    """
    with store.read() as connection:
        number = require(connection, public_id)
        judged = [ask for ask in plan.asks if ask.id != plan.told]
        rows = claim_rows_in(connection, number, judged)
        if len(judged) < len(plan.asks):
            rows[plan.told] = _told(connection, number, plan.paths, {} if known is None else known)
        return rows


def _told(connection: Connection, number: int, paths: Collection[str], known: Known) -> list[Row]:
    """Trials with no more than their settings, and the final values that filters are about."""
    members = members_in(connection, [number])
    rows = {}
    for member in members:
        row = known.get((member.id, member.attempt))
        if row is not None and row.state == member.state:
            rows[member.id] = row
    new = [member for member in members if member.id not in rows]
    if new:
        documents = documents_of(connection, {member.settings_id for member in new})
        asked = [path for path in paths if path.startswith("final.")]
        finals = _finals(connection, [one.id for one in new if one.state in _MEASURED], asked)
        looked: dict[int, dict[str, Any]] = {key: {} for key in documents}
        for one in new:
            own = finals.get(one.id, _NOTHING)
            settings = one.settings_id
            lookup = _lookup(one, documents[settings], looked[settings], own)
            rows[one.id] = row = Row(trial_id(one.id), one.state, lookup, {})
            # what was not measured may be, later on
            if one.state in _MEASURED and len(own) == len(asked):
                known[one.id, one.attempt] = row
    return [rows[member.id] for member in members]


def _finals(connection: Connection, keys: Collection[int], paths: Collection[str]) -> Mapping[int, Mapping[str, Any]]:
    """Trial -> its final values by path, where it has them."""
    found: dict[int, dict[str, Any]] = {}
    if keys and paths:
        for path, values in final_lookups(connection, listed(connection, keys), paths).items():
            for key, value in values.items():
                if value is not None:
                    found.setdefault(key, {})[path] = value
    return found


def _lookup(member: Member, document: Mapping[str, Any], known: dict[str, Any], finals: Mapping[str, Any]) -> Lookup:
    """Path -> value of one trial; `known` has what was looked up for trials of the same settings."""

    def lookup(path: str) -> Any:
        if path in finals:
            return finals[path]
        if path in known:
            return known[path]
        if path.startswith("final."):
            return None
        if path == "seed":
            return member.seed
        if path == "state":
            return member.state.value
        value = known[path] = setting(document, path)
        return value

    return lookup
