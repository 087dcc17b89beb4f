"""The trials of an experiment, whole, and what filters, groups and orders look up in one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from service.grid.reading import layer_number, setting
from service.questions.filters import split_final
from service.states import TrialState
from service.store.held_back import is_cancelled, is_wanted
from service.store.keys import among
from service.store.known_settings import documents_of
from service.store.models import experiment, experiment_trial, is_there, trial


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial, as one experiment that links it sees it."""

    id: int
    position: int
    fingerprint: str
    state: TrialState
    settings: Mapping[str, Any]
    seed: int
    attempt: int
    failures: int
    error: str | None
    last_step: int | None
    provenance: Mapping[str, Any] | None
    kept_every: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def trials_of(connection: Connection, number: int, *, after: int = -1, limit: int | None = None) -> list[TrialRow]:
    """Trials that an experiment links, by position; what it stopped wanting is cancelled for it."""
    query = (
        _trial_query(experiment_trial.c.position, is_wanted(experiment_trial).label("wanted"))
        .join(experiment_trial, experiment_trial.c.trial_id == trial.c.id)
        .where(experiment_trial.c.experiment_id == number, experiment_trial.c.position > after)
        .order_by(experiment_trial.c.position)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    documents = documents_of(connection, {row.settings_id for row in rows})
    return [_trial_row(row, documents, row.position, wanted=bool(row.wanted)) for row in rows]


def trials_by_key(connection: Connection, keys: Mapping[int, tuple[int, bool]]) -> dict[int, TrialRow]:
    """Trials by their keys, given each one's position in an experiment and whether that wants it."""
    rows = connection.execute(_trial_query().where(among(connection, trial.c.id, keys))).all()
    documents = documents_of(connection, {row.settings_id for row in rows})
    return {row.id: _trial_row(row, documents, keys[row.id][0], wanted=keys[row.id][1]) for row in rows}


def trial_by_key(connection: Connection, key: int) -> TrialRow | None:
    """One trial, whoever links it; None too where only deleted experiments do."""
    holders = select(1).select_from(
        experiment_trial.join(experiment, experiment.c.id == experiment_trial.c.experiment_id)
    )
    mine = holders.where(experiment_trial.c.trial_id == trial.c.id)
    is_found = or_(mine.where(is_there).exists(), ~mine.exists())
    query = _trial_query(is_cancelled().label("is_cancelled"))
    row = connection.execute(query.where(trial.c.id == key, is_found)).one_or_none()
    if row is None:
        return None
    return _trial_row(row, documents_of(connection, {row.settings_id}), 0, wanted=not row.is_cancelled)


def _trial_query(*more: Any) -> Any:
    columns = (
        trial.c.id,
        trial.c.fingerprint,
        trial.c.state,
        trial.c.settings_id,
        trial.c.seed,
        trial.c.attempt,
        trial.c.failures,
        trial.c.error,
        trial.c.last_step,
        trial.c.provenance,
        trial.c.kept_every,
        trial.c.created_at,
        trial.c.started_at,
        trial.c.ended_at,
    )
    return select(*columns, *more).select_from(trial)


def _provenance(row: Row[Any]) -> Mapping[str, Any] | None:
    """How it was trained, and whether only some of its measured steps are left."""
    return row.provenance if row.kept_every == 1 else (row.provenance or {}) | {"kept_every": row.kept_every}


def _trial_row(row: Row[Any], documents: Mapping[int, Mapping[str, Any]], position: int, *, wanted: bool) -> TrialRow:
    return TrialRow(
        id=row.id,
        position=position,
        fingerprint=row.fingerprint,
        state=TrialState(row.state) if wanted else TrialState.CANCELLED,
        settings=documents[row.settings_id],
        seed=row.seed,
        attempt=row.attempt,
        failures=row.failures,
        error=row.error,
        last_step=row.last_step,
        provenance=_provenance(row),
        kept_every=row.kept_every,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def lookup_of(row: TrialRow, finals: Mapping[str, Any]) -> Callable[[str], Any]:
    """Path -> value of one trial, for filters, grouping and sorting: settings, seed, state, final.METRIC[layer]."""

    def lookup(path: str) -> Any:
        if path == "seed":
            return row.seed
        if path == "state":
            return row.state.value
        if path.startswith("final."):
            return finals.get(_numbered(path, row.settings))
        return setting(row.settings, path)

    return lookup


def _numbered(path: str, settings: Mapping[str, Any]) -> str:
    """METRIC[number] of a path final.METRIC[layer], as final values are called; empty for a layer that is not there."""
    metric, layer = split_final(path) or ("", None)
    if layer is None:
        return metric
    number = layer_number(settings, layer)
    return f"{metric}[{number}]" if number is not None else ""
