"""What searches know of an experiment's trials: no more than they ask for, since it is read again in every round."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection

from service.grid.reading import setting
from service.planning.plan import Plan
from service.questions.filters import Lookup
from service.questions.judging import Row
from service.store.experiments import require
from service.store.finals import final_lookup
from service.store.ids import trial_id
from service.store.known_settings import documents_of
from service.store.members import Member, keys_of, members_in
from service.store.session import Store
from service.store.verdicts import claim_rows_in


def search_rows(store: Store, public_id: str, plan: Plan) -> Mapping[str, list[Row]]:
    """Id of each of `plan.asks` -> every trial of the experiment, of one moment of the store. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, public_id)
        judged = [ask for ask in plan.asks if ask.id != plan.told]
        rows = claim_rows_in(connection, number, judged)
        if len(judged) < len(plan.asks):
            rows[plan.told] = _told(connection, number, plan.paths)
        return rows


def _told(connection: Connection, number: int, paths: Collection[str]) -> list[Row]:
    """Trials with no more than their settings, and the final values that filters are about."""
    members = members_in(connection, [number])
    documents = documents_of(connection, {member.settings_id for member in members})
    finals = {path: final_lookup(connection, keys_of([number]), path) for path in paths if path.startswith("final.")}
    known: dict[int, dict[str, Any]] = {key: {} for key in documents}
    return [
        Row(trial_id(one.id), one.state, _lookup(one, documents[one.settings_id], known[one.settings_id], finals), {})
        for one in members
    ]


def _lookup(
    member: Member, document: Mapping[str, Any], known: dict[str, Any], finals: Mapping[str, Mapping[int, Any]]
) -> Lookup:
    """Path -> value of one trial; `known` has what was looked up for trials of the same settings."""

    def lookup(path: str) -> Any:
        if path in known:
            return known[path]
        if path == "seed":
            return member.seed
        if path == "state":
            return member.state.value
        if path.startswith("final."):
            return finals[path].get(member.id)
        value = known[path] = setting(document, path)
        return value

    return lookup
