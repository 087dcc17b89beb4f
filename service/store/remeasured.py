"""What was measured again on kept weights: which metrics of which trials, at which layers, by which definitions."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from service.grid.inputs import names_measured
from service.grid.remeasurement import layers_asked, names_asked
from service.store.keys import listed
from service.store.known_settings import documents_of
from service.store.models import experiment_trial, remeasured_trial, remeasurement, trial

DONE = "completed"


class Remeasured(NamedTuple):
    """What a trial has beyond what its settings say under `measure`."""

    metrics: frozenset[str]
    """Ids of what was asked for, families written out."""
    layers: frozenset[int]
    definitions: Mapping[str, int]
    """Version of the definition that its numbers were measured by last."""


NOTHING = Remeasured(frozenset(), frozenset(), {})


def remeasured(connection: Connection, members: Select[Any]) -> dict[int, Remeasured]:
    """Trial -> what was measured again; trials of which nothing was are left out.

    Args:
        connection: a transaction.
        members: a SELECT of trial keys.
    """
    job = remeasured_trial.c
    rows = connection.execute(
        select(job.remeasurement_id, trial.c.settings_id, job.trial_id)
        .join(trial, trial.c.id == job.trial_id)
        .where(job.trial_id.in_(members), job.state == DONE)
        .order_by(job.remeasurement_id)
    ).all()
    parts = _of_settings(connection, {(row[0], row[1]) for row in rows})
    found: dict[int, list[Remeasured]] = defaultdict(list)
    for number, settings_id, key in rows:
        found[key].append(parts[number, settings_id])
    return {key: _together(own) for key, own in found.items()}


def steps_again(connection: Connection, members: Select[Any]) -> dict[int, tuple[int, ...]]:
    """Trial -> the steps at which something was measured again, in order."""
    job = remeasured_trial.c
    query = select(job.trial_id, job.steps).where(job.trial_id.in_(members), job.state == DONE)
    found: dict[int, set[int]] = defaultdict(set)
    for key, steps in connection.execute(query):
        found[key].update(steps)
    return {key: tuple(sorted(steps)) for key, steps in found.items()}


def remeasured_of(connection: Connection, key: int) -> Remeasured:
    """What was measured again of one trial."""
    return remeasured(connection, select(trial.c.id).where(trial.c.id == key)).get(key, NOTHING)


def definitions_in(connection: Connection, key: int) -> dict[str, int]:
    """Metric -> version of the definition that a trial's numbers were measured by last; empty before it has ended."""
    query = select(trial.c.settings_id, trial.c.provenance).where(trial.c.id == key, trial.c.provenance.is_not(None))
    row = connection.execute(query).one_or_none()
    if row is None:
        return {}
    measure = documents_of(connection, {row.settings_id})[row.settings_id]["measure"]
    own = dict.fromkeys(names_measured(measure), 1)
    return {**own, **row.provenance.get("definitions", {}), **remeasured_of(connection, key).definitions}


def remeasured_in(connection: Connection, number: int) -> Remeasured:
    """What was measured again of any trial of an experiment."""
    job = remeasured_trial.c
    rows = connection.execute(
        select(job.remeasurement_id, trial.c.settings_id)
        .join(trial, trial.c.id == job.trial_id)
        .join(experiment_trial, experiment_trial.c.trial_id == job.trial_id)
        .where(experiment_trial.c.experiment_id == number, job.state == DONE)
        .distinct()
    ).all()
    parts = _of_settings(connection, {(row[0], row[1]) for row in rows})
    return _together([parts[key] for key in sorted(parts)])


def _of_settings(connection: Connection, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], Remeasured]:
    """(request, settings) -> what the one asks of trials with the other."""
    if not pairs:
        return {}
    request = remeasurement.c
    numbers = listed(connection, sorted({number for number, _ in pairs}))
    query = select(request.id, request.asked, request.definitions).where(request.id.in_(numbers))
    requests = {row.id: (row.asked, row.definitions) for row in connection.execute(query)}
    documents = documents_of(connection, {key for _, key in pairs})
    found = {}
    for number, key in pairs:
        asked, definitions = requests[number]
        metrics, layers = frozenset(names_asked(asked)), frozenset(layers_asked(asked, documents[key]))
        found[number, key] = Remeasured(metrics, layers, definitions)
    return found


def _together(parts: Sequence[Remeasured]) -> Remeasured:
    """The union, oldest first."""
    return Remeasured(
        frozenset[str]().union(*(one.metrics for one in parts)),
        frozenset[int]().union(*(one.layers for one in parts)),
        {name: version for one in parts for name, version in one.definitions.items()},
    )
