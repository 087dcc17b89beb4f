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
Known = dict[tuple[int, int], dict[str, Any]]
"""Key and attempt of a trial that has ended -> final values by path, where it has them: they stay what they are."""


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
    documents = documents_of(connection, {member.settings_id for member in members})
    _read_finals(connection, members, [path for path in paths if path.startswith("final.")], known)
    looked: dict[int, dict[str, Any]] = {key: {} for key in documents}
    nothing: dict[str, Any] = {}
    return [
        Row(
            trial_id(one.id),
            one.state,
            _lookup(
                one, documents[one.settings_id], looked[one.settings_id], known.get((one.id, one.attempt), nothing)
            ),
            {},
        )
        for one in members
    ]


def _read_finals(connection: Connection, members: Collection[Member], paths: Collection[str], known: Known) -> None:
    """Read final values of those trials of which some are not known; what was not measured may be, later on."""
    new = [one for one in members if one.state in _MEASURED and len(known.get((one.id, one.attempt), ())) < len(paths)]
    if not new:
        return
    for path, values in final_lookups(connection, listed(connection, [one.id for one in new]), paths).items():
        for one in new:
            value = values.get(one.id)
            if value is not None:
                known.setdefault((one.id, one.attempt), {})[path] = value


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
