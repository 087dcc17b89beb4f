"""Brings trials that were trained elsewhere into the store, with what was measured, and experiments that link them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, insert, select, update

from service.grid.expansion import Expansion
from service.grid.points import Point
from service.states import TrialState
from service.store.bulk_writes import insert_columns
from service.store.copy_binary import BIGINT, BOOLEAN
from service.store.datasets import require_datasets
from service.store.held_back import is_cancelled
from service.store.ids import experiment_id
from service.store.insertions import insert_settings
from service.store.keys import among_words
from service.store.measurements import delete_measurements, insert_finals, insert_measurements
from service.store.models import attempt, experiment, experiment_trial, trial
from service.store.partitions import cover
from service.store.remeasured_records import MeasuredBy, RequestMade, RequestsElsewhere
from service.store.rounds import RoundsMade, keep_rounds
from service.store.session import Store, utc_now
from service.store.submissions import insert_experiment
from service.store.wanting import one_at_a_time, settle
from service.store.weights import insert_weights

_CHUNK: Final = 5_000


@dataclass(frozen=True)
class Trained:
    """A trial as it ended elsewhere."""

    point: Point
    seed: int
    fingerprint: str
    state: TrialState
    last_step: int | None
    told: Mapping[str, Any]
    """Columns of its row: attempt, failures, error, kept_every, provenance, created_at, started_at, ended_at."""
    attempts: Sequence[Mapping[str, Any]] = ()
    """number, started_at, ended_at, outcome and error of each."""
    weights: Sequence[tuple[int, bytes]] = ()
    """(step, .safetensors file)."""
    again: Sequence[MeasuredBy] = ()
    """What measured it again."""


@dataclass(frozen=True)
class Rows:
    """Measurements of some trials, by their places as `lane`, as a dispatcher reports them."""

    network: pa.RecordBatch
    layers: pa.RecordBatch
    parametrised: pa.RecordBatch


@dataclass(frozen=True)
class Linked:
    """An experiment whose trials are in the store, or are to be there as cancelled."""

    expansion: Expansion
    document: Mapping[str, Any]
    owner: str
    created_at: datetime
    trials: Sequence[tuple[str, Point, int, bool]]
    """Fingerprint, point, seed, and whether the experiment wants it; in its order."""
    claims: Sequence[Mapping[str, Any]] = field(default=())
    made: RoundsMade = field(default_factory=RoundsMade)
    """The rounds that its searches added where it was trained."""
    again: Sequence[RequestMade] = ()
    """The requests that measured its trials again."""


def known_states(store: Store, fingerprints: Sequence[str]) -> dict[str, TrialState]:
    """The states of those of these trials that the store has."""
    found: dict[str, TrialState] = {}
    with store.read() as connection:
        for start in range(0, len(fingerprints), _CHUNK):
            some = among_words(connection, trial.c.fingerprint, fingerprints[start : start + _CHUNK])
            rows = connection.execute(select(trial.c.fingerprint, trial.c.state).where(some))
            found |= {print_: TrialState(state) for print_, state in rows}
    return found


def import_trials(store: Store, trials: Sequence[Trained], rows: Rows | None, requests: RequestsElsewhere) -> int:
    """Insert those that the store has not, or has as cancelled, with their measurements; answers how many.

    All of it or nothing. Trials that run, wait or have ended here stay as they are.
    """
    with store.write() as connection:
        one_at_a_time(connection)
        known = _known(connection, [one.fingerprint for one in trials])
        lanes = {lane: one for lane, one in enumerate(trials) if one.fingerprint not in known}
        revived = {lane: one for lane, one in enumerate(trials) if _is_cancelled(known.get(one.fingerprint))}
        if not lanes and not revived:
            return 0
        settings = insert_settings(connection, (one.point for one in lanes.values()))
        _insert(connection, list(lanes.values()), settings)
        for one in revived.values():
            key, _, number = known[one.fingerprint]
            delete_measurements(connection, [key])
            changed = {**_columns(one), "attempt": number + 1}
            connection.execute(update(trial).where(trial.c.id == key).values(**changed))
        _insert_measured(connection, lanes | revived, rows)
        _insert_again(connection, list((lanes | revived).values()), requests)
    return len(lanes) + len(revived)


def _known(connection: Connection, fingerprints: Sequence[str]) -> dict[str, tuple[int, str, int]]:
    """Key, state and attempt of those of these trials that there are."""
    query = select(trial.c.fingerprint, trial.c.id, trial.c.state, trial.c.attempt)
    rows = connection.execute(query.where(among_words(connection, trial.c.fingerprint, fingerprints)))
    return {row.fingerprint: (row.id, row.state, row.attempt) for row in rows}


def _is_cancelled(known: tuple[int, str, int] | None) -> bool:
    return known is not None and known[1] == TrialState.CANCELLED


def _columns(one: Trained) -> dict[str, Any]:
    return {"state": one.state, "last_step": one.last_step, "queued_for": None, **one.told}


def _insert(connection: Connection, trials: Sequence[Trained], settings: Mapping[str, int]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "fingerprint": one.fingerprint,
            "settings_id": settings[one.point.digest],
            "seed": one.seed,
            "stack_key": one.point.stack_key,
            "device": one.point.device,
            **_columns(one),
        }
        for one in trials
    ]
    if not rows:
        return
    connection.execute(insert(trial), rows)
    known = _known(connection, [one.fingerprint for one in trials])
    attempts = [
        {"trial_id": known[one.fingerprint][0], "dispatcher": "imported", **made}
        for one in trials
        for made in one.attempts
    ]
    if attempts:
        connection.execute(insert(attempt), attempts)


def _insert_measured(connection: Connection, members: Mapping[int, Trained], rows: Rows | None) -> None:
    """The rows of these lanes, what they ended with, and the weights they keep."""
    known = _known(connection, [one.fingerprint for one in members.values()])
    lanes = {lane: known[one.fingerprint][0] for lane, one in members.items()}
    cover(connection, list(lanes.values()))
    if rows is not None:
        insert_measurements(connection, lanes, rows.network, rows.layers, rows.parametrised)
        have_finals = (TrialState.COMPLETED, TrialState.DIVERGED)
        ends = {lanes[lane]: one.last_step for lane, one in members.items() if one.state in have_finals}
        insert_finals(
            connection, {lane: key for lane, key in lanes.items() if key in ends}, ends, rows.network, rows.layers
        )
    files = [(lane, step, content) for lane, one in members.items() for step, content in one.weights]
    insert_weights(connection, lanes, files)


def _insert_again(connection: Connection, members: Sequence[Trained], requests: RequestsElsewhere) -> None:
    """That these trials were measured again."""
    known = _known(connection, [one.fingerprint for one in members if one.again])
    told = [
        (
            {
                "trial_id": known[one.fingerprint][0],
                "trial_attempt": known[one.fingerprint][2],
                "stack_key": one.point.stack_key,
                "device": one.point.device,
            },
            by,
        )
        for one in members
        for by in one.again
    ]
    requests.insert(connection, told)


def link_experiment(store: Store, one: Linked, requests: RequestsElsewhere) -> str:
    """Add an experiment over trials that are there; those that are not are added as cancelled. Answers its id.

    Nothing is queued that was not before.

    Raises:
        Conflict: a dataset that it names was deleted.
    """
    with store.write() as connection:
        one_at_a_time(connection)
        require_datasets(connection, (point.settings for point in one.expansion.points))
        number = insert_experiment(connection, one.expansion, one.owner, one.document)
        told = {"created_at": one.created_at, "claims": [dict(claim) for claim in one.claims]}
        connection.execute(update(experiment).where(experiment.c.id == number).values(**told))
        keep_rounds(connection, number, one.made)
        requests.belong_to(connection, one.again, number)
        _insert_missing(connection, one)
        keys: dict[str, int] = {}
        for start in range(0, len(one.trials), _CHUNK):
            prints = [print_ for print_, *_ in one.trials[start : start + _CHUNK]]
            keys |= {print_: found[0] for print_, found in _known(connection, prints).items()}
        columns = {
            "experiment_id": np.full(len(one.trials), number),
            "position": np.arange(len(one.trials)),
            "trial_id": np.array([keys[print_] for print_, *_ in one.trials], np.int64),
            "wanted": np.array([wanted for *_, wanted in one.trials], bool),
        }
        insert_columns(connection, experiment_trial, columns, [BIGINT, BIGINT, BIGINT, BOOLEAN])
        _want_no_cancelled(connection, number)
        settle(connection, number)
    return experiment_id(number)


def _insert_missing(connection: Connection, one: Linked) -> None:
    """Trials that had not ended where they were trained."""
    now = utc_now()
    for start in range(0, len(one.trials), _CHUNK):
        some = one.trials[start : start + _CHUNK]
        known = _known(connection, [print_ for print_, *_ in some])
        told = {"created_at": now, "ended_at": now}
        missing = [
            Trained(point, seed, print_, TrialState.CANCELLED, None, told)
            for print_, point, seed, _ in some
            if print_ not in known
        ]
        _insert(connection, missing, insert_settings(connection, (lost.point for lost in missing)))


def _want_no_cancelled(connection: Connection, number: int) -> None:
    """A trial that is cancelled here stays so until somebody retries it: an import trains nothing."""
    own = experiment_trial.c.experiment_id == number
    cancelled = select(trial.c.id).where(is_cancelled(besides=number))
    linked = update(experiment_trial).where(own, experiment_trial.c.trial_id.in_(cancelled))
    connection.execute(linked.values(wanted=False))
