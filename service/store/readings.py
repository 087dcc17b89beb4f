"""What questions about an experiment are answered from: its trials, their final values and their series."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, select

from nfa_kernels import names
from service.states import TrialState
from service.store.documents import documents_of
from service.store.keys import among
from service.store.models import (
    LAYER_COLUMNS,
    NETWORK_COLUMNS,
    experiment_trial,
    final,
    layer_measurement,
    parametrised_measurement,
    trial,
)


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
        _trial_query(experiment_trial.c.position, experiment_trial.c.wanted)
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
    """One trial, whoever links it."""
    row = connection.execute(_trial_query().where(trial.c.id == key)).one_or_none()
    return None if row is None else _trial_row(row, documents_of(connection, {row.settings_id}), 0, wanted=True)


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


def finals_of(connection: Connection, members: Select[Any]) -> dict[int, dict[str, Any]]:
    """Final values of trials by the names users see: `alignment`, and `alignment[2]` for every measured layer.

    Args:
        connection: a reading transaction.
        members: a SELECT of trial keys.
    """
    found: dict[int, dict[str, Any]] = {}
    measured: dict[int, frozenset[str]] = {}
    rows = connection.execute(
        select(final, trial.c.settings_id)
        .join(trial, trial.c.id == final.c.trial_id)
        .where(final.c.trial_id.in_(members))
    ).all()
    documents = documents_of(connection, {row.settings_id for row in rows})
    asked = {key: frozenset(document["measure"]["metrics"]) for key, document in documents.items()}
    columns = [*NETWORK_COLUMNS, *LAYER_COLUMNS]
    for row in rows:
        values = row._mapping
        measured[row.trial_id] = asked[row.settings_id]
        found[row.trial_id] = {name: word_of(name, values[name]) for name in columns if name in asked[row.settings_id]}
    last = and_(layer_measurement.c.trial_id == trial.c.id, layer_measurement.c.step == trial.c.last_step)
    layers = (
        select(layer_measurement).join(trial, last).where(trial.c.id.in_(members)).order_by(layer_measurement.c.layer)
    )
    for row in connection.execute(layers).mappings().all():
        if row["trial_id"] in found:
            key, layer = row["trial_id"], row["layer"]
            found[key] |= {
                f"{name}[{layer}]": word_of(name, row[name]) for name in LAYER_COLUMNS if name in measured[key]
            }
    _add_parametrised(connection, members, found)
    return found


def _add_parametrised(connection: Connection, members: Select[Any], found: dict[int, dict[str, Any]]) -> None:
    table = parametrised_measurement
    last = and_(table.c.trial_id == trial.c.id, table.c.step == trial.c.last_step)
    query = select(table).join(trial, last).where(trial.c.id.in_(members)).order_by(table.c.layer, table.c.name)
    for row in connection.execute(query).all():
        if row.trial_id in found:
            found[row.trial_id].setdefault(row.name, row.value)
            found[row.trial_id][f"{row.name}[{row.layer}]"] = row.value


def word_of(metric: str, value: float | None) -> Any:
    """A stored value as users see it: the word behind a code, the number itself otherwise."""
    words = names.METRICS[metric].words
    return words[int(value)] if words and value is not None else value


def lookup_of(row: TrialRow, finals: Mapping[str, Any]) -> Callable[[str], Any]:
    """Path -> value of one trial, for filters, grouping and sorting: settings, seed, state, final.METRIC[layer]."""

    def lookup(path: str) -> Any:
        if path == "seed":
            return row.seed
        if path == "state":
            return row.state.value
        if path.startswith("final."):
            return finals.get(path.removeprefix("final."))
        return setting(row.settings, path)

    return lookup


def setting(document: Mapping[str, Any], path: str) -> Any:
    """A setting by its path, None where the trial does not read it; a width that all layers share is a number."""
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if path == "network.width" and isinstance(value, list) and value and len(set(value)) == 1:
        return value[0]
    return value


def members_of(number: int) -> Select[Any]:
    """SELECT of the keys of an experiment's trials."""
    return select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)


def only(keys: Iterable[int]) -> Select[Any]:
    """SELECT of given keys."""
    return select(trial.c.id).where(trial.c.id.in_(list(keys)))
