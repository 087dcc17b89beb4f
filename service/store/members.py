"""An experiment's trials, as light as a question over ten thousand of them needs, and the groups they fall into."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, select

from service.grid.reading import setting
from service.questions import filters
from service.states import TrialState
from service.store.finals import final_lookups
from service.store.held_back import is_wanted
from service.store.ids import experiment_id
from service.store.known_settings import documents_of
from service.store.models import experiment_trial, trial


class Member(NamedTuple):
    """A trial, as one experiment that links it sees it."""

    experiment: int
    position: int
    id: int
    settings_id: int
    seed: int
    state: TrialState
    attempt: int


class Group(NamedTuple):
    """Trials that agree in the paths of a question."""

    key: dict[str, Any]
    members: list[Member]

    @property
    def completed(self) -> list[int]:
        """Keys of its completed trials."""
        return [member.id for member in self.members if member.state == TrialState.COMPLETED]


def keys_of(numbers: Sequence[int]) -> Select[Any]:
    """SELECT of the keys of the trials of some experiments."""
    return select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id.in_(numbers))


_STATES: Final = {state.value: state for state in TrialState}
_MEMBERS: Final = (
    select(
        experiment_trial.c.experiment_id,
        experiment_trial.c.position,
        experiment_trial.c.trial_id,
        trial.c.settings_id,
        trial.c.seed,
        trial.c.state,
        trial.c.attempt,
        is_wanted(experiment_trial).label("wanted"),
    )
    .join(trial, trial.c.id == experiment_trial.c.trial_id)
    .order_by(experiment_trial.c.experiment_id, experiment_trial.c.position)
)


def members_in(
    connection: Connection, numbers: Sequence[int], *, after: int = -1, limit: int | None = None
) -> list[Member]:
    """The trials of experiments, by experiment and position; what one stopped wanting is cancelled for it.

    For one experiment they may be taken in pieces: at most `limit` of those after a position.
    """
    link = experiment_trial.c
    query = _MEMBERS.where(link.experiment_id.in_(numbers)).limit(limit)
    if after >= 0:
        query = query.where(link.position > after)
    rows = connection.execute(query).all()
    return [
        Member(number, position, key, point, seed, _STATES[state] if wanted else TrialState.CANCELLED, attempt)
        for number, position, key, point, seed, state, attempt, wanted in rows
    ]


def groups_of(
    connection: Connection, numbers: Sequence[int], group_by: Sequence[str], where: str, *, by_experiment: bool = False
) -> list[Group]:
    """The trials that pass a filter, by the values of some paths, in order of appearance.

    Args:
        connection: a reading transaction.
        numbers: experiments.
        group_by: settings paths, seed, state.
        where: filter expression; blank for all.
        by_experiment: keep experiments apart, by a first key `experiment`.
    """
    tree = filters.parse(where)
    members = members_in(connection, numbers)
    documents = documents_of(connection, {member.settings_id for member in members})
    asked = [path for path in filters.paths(tree) if path.startswith("final.")]
    finals = final_lookups(connection, keys_of(numbers), asked)
    fixed = _of_settings(group_by, documents)
    passes = _passes(tree, documents, finals)
    own = [path for path in group_by if path in ("seed", "state")]
    groups: dict[Any, Group] = {}
    for member in members:
        if passes is None or passes(member):
            whole = (member.experiment if by_experiment else 0, fixed[member.settings_id])
            if own:
                whole += tuple(member.seed if path == "seed" else member.state for path in own)
            group = groups.get(whole)
            if group is None:
                key = {"experiment": experiment_id(member.experiment)} if by_experiment else {}
                lookup = lookup_in(member, documents, finals)
                group = groups[whole] = Group(key | {path: lookup(path) for path in group_by}, [])
            group.members.append(member)
    return list(groups.values())


def lookup_in(
    member: Member, documents: Mapping[int, Mapping[str, Any]], finals: Mapping[str, Mapping[int, Any]]
) -> filters.Lookup:
    """Path -> value of one trial."""

    def lookup(path: str) -> Any:
        if path == "seed":
            return member.seed
        if path == "state":
            return member.state.value
        if path.startswith("final."):
            return finals[path].get(member.id)
        return setting(documents[member.settings_id], path)

    return lookup


def _of_settings(paths: Sequence[str], documents: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """What settings have under the paths, as text that tells 1 from true."""
    own = [path for path in paths if path not in ("seed", "state")]
    return {key: repr([setting(document, path) for path in own]) for key, document in documents.items()}


def _passes(
    tree: filters.Filter, documents: Mapping[int, Mapping[str, Any]], finals: Mapping[str, Mapping[int, Any]]
) -> Callable[[Member], bool] | None:
    """Whether a trial passes, None where all do; a filter on settings alone is asked once per settings."""
    if tree == filters.EVERYTHING:
        return None
    if finals or filters.paths(tree) & {"seed", "state"}:
        return lambda member: filters.matches(tree, lookup_in(member, documents, finals))
    passing = {
        key for key, document in documents.items() if filters.matches(tree, lambda path, d=document: setting(d, path))
    }
    return lambda member: member.settings_id in passing
