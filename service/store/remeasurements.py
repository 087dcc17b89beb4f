"""Requests to measure kept weights again: made, counted, cancelled, deleted."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, delete, func, insert, null, select, update

from service.errors import InvalidRequest, TooMany
from service.grid import remeasurement as asking
from service.grid.inputs import ALLOWED, datasets_of
from service.grid.reading import layer_names
from service.states import TrialState
from service.store.datasets import dataset_ids, shapes_of
from service.store.experiments import require
from service.store.ids import experiment_id, remeasurement_id, trial_id
from service.store.keys import among
from service.store.known_settings import documents_of
from service.store.measured_models import kept_weights
from service.store.models import experiment, experiment_trial, remeasured_trial, remeasurement, trial
from service.store.session import Store, utc_now
from service.store.wanting import one_at_a_time

OPEN: Final = ("queued", "running")
STATES: Final = (*OPEN, "completed", "failed", "cancelled")
_NAMED: Final = 1_000
"""Trials of each kind that an answer names."""
_ERRORS: Final = 20
_CHUNK: Final = 5_000


@dataclass(frozen=True)
class LeftOut:
    """Trials of an experiment of which nothing is measured, by why."""

    without_weights: tuple[int, ...] = ()
    """They keep no weights of the steps that were asked for."""
    without_layers: tuple[int, ...] = ()
    """Their networks have none of the layers."""
    unfinished: tuple[int, ...] = ()
    """They have not completed or diverged."""
    without_inputs: tuple[int, ...] = ()
    """Their data have no such inputs, as a test set."""
    already: tuple[int, ...] = ()
    """All of it was measured, or is being measured for another request."""

    def told(self) -> dict[str, Any]:
        """Counts, and which, as far as an answer has room."""
        kinds = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: {"count": len(keys), "trials": [trial_id(key) for key in keys[:_NAMED]]}
            for name, keys in kinds.items()
        }


@dataclass(frozen=True)
class Remeasurement:
    """A request, and how far it is; one that finds nothing to do is not kept and has no id."""

    id: str | None
    experiment: str
    metrics: list[str]
    layers: Any
    """As asked; None: those that each trial measures."""
    at: Any
    inputs: list[str]
    """Ids of those over which the AGOP is averaged."""
    definitions: Mapping[str, int]
    trials: int
    counts: Mapping[str, int]
    left_out: Mapping[str, Any]
    replaced: list[str]
    """Metrics whose numbers by an older definition were replaced."""
    errors: list[str] = field(default_factory=list)
    created_at: datetime | None = None


class _Job(NamedTuple):
    trial: Row[*tuple[Any, ...]]
    steps: list[int]


def measure_again(store: Store, public_id: str, asked: asking.Asked, max_queued: int | None = None) -> Remeasurement:
    """Queue the kept weights of an experiment's trials to be measured; all of it or nothing.

    Raises:
        NotFound: there is no such experiment.
        InvalidRequest: no trial has such a layer, or keeps weights of a listed step while some keep others.
        TooMany: its owner would have more than `max_queued` trials that wait to be measured again.
    """
    definitions = asking.definitions_of(asking.names_asked(asked))
    with store.write() as connection:
        one_at_a_time(connection)
        number = require(connection, public_id)
        jobs, left_out = _sorted_out(connection, number, asked, definitions)
        told = left_out.told()
        if not jobs:
            ids, layers, inputs = asking.names_asked(asked), asked.get("layers"), [*asking.inputs_of(asked)]
            return Remeasurement(None, public_id, ids, layers, asked["at"], inputs, definitions, 0, {}, told, [])
        made = connection.execute(
            insert(remeasurement).values(
                experiment_id=number,
                asked={**asked, "left_out": told},
                digest=asking.digest_of(asked, definitions),
                definitions=definitions,
                created_at=utc_now(),
            )
        )
        assert made.inserted_primary_key is not None
        key = int(made.inserted_primary_key[0])
        _insert_jobs(connection, key, jobs)
        _refuse_long_queue(connection, number, max_queued)
        return _read(connection, number, key)[0]


def list_remeasurements(store: Store, public_id: str) -> list[Remeasurement]:
    """The requests of an experiment, the oldest first. Raises NotFound."""
    with store.read() as connection:
        return _read(connection, require(connection, public_id))


def keeps_weights(store: Store, public_id: str) -> bool:
    """Whether any trial of an experiment has kept weights so far. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, public_id)
        query = (
            select(kept_weights.c.step)
            .join(experiment_trial, experiment_trial.c.trial_id == kept_weights.c.trial_id)
            .where(experiment_trial.c.experiment_id == number)
            .limit(1)
        )
        return connection.scalar(query) is not None


def cancel_open(connection: Connection, number: int) -> None:
    """Measure nothing more for an experiment; what was measured stays."""
    mine = select(remeasurement.c.id).where(remeasurement.c.experiment_id == number)
    connection.execute(
        update(remeasured_trial)
        .where(remeasured_trial.c.remeasurement_id.in_(mine), remeasured_trial.c.state.in_(OPEN))
        .values(state="cancelled", owner=None, lease_until=None, lease_clock=None, ended_at=utc_now())
    )


def forget_experiment(connection: Connection, number: int) -> None:
    """An experiment goes; what was measured for it of trials that others hold is still known."""
    cancel_open(connection, number)
    values = {"experiment_id": None}
    connection.execute(update(remeasurement).where(remeasurement.c.experiment_id == number).values(values))


def delete_of_trials(connection: Connection, keys: Sequence[int]) -> None:
    """Trials, locked in this transaction, go, and with them what was asked of nobody else."""
    job = remeasured_trial
    mine_of = among(connection, job.c.trial_id, keys)
    mine = set(connection.scalars(select(job.c.remeasurement_id).where(mine_of).distinct()))
    connection.execute(delete(job).where(mine_of))
    is_used = select(job.c.id).where(job.c.remeasurement_id == remeasurement.c.id).exists()
    connection.execute(delete(remeasurement).where(remeasurement.c.id.in_(mine), ~is_used))


def _sorted_out(
    connection: Connection, number: int, asked: asking.Asked, definitions: Mapping[str, int]
) -> tuple[list[_Job], LeftOut]:
    """What to measure, and what is left out."""
    link, columns = experiment_trial.c, trial.c
    rows = connection.execute(
        select(
            *(columns.id, columns.settings_id, columns.attempt, columns.state, columns.last_step),
            *(columns.stack_key, columns.device, columns.provenance),
        )
        .join(experiment_trial, link.trial_id == columns.id)
        .where(link.experiment_id == number)
        .order_by(link.position)
    ).all()
    kept = _kept_steps(connection, number)
    _refuse_steps(asked, kept)
    documents = documents_of(connection, {row.settings_id for row in rows})
    layers = {key: asking.layers_asked(asked, document) for key, document in documents.items()}
    if asking.needs_layers(asked) and rows and not any(layers.values()):
        _refuse_layers(asked, documents.values())
    refused = _refused_inputs(connection, asked, documents)
    before = _asked_before(connection, number, asking.digest_of(asked, definitions))
    jobs: list[_Job] = []
    left: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        steps = asking.steps_asked(asked, kept.get(row.id, ()), row.last_step)
        by = (row.provenance or {}).get("definitions", {})
        if row.state not in (TrialState.COMPLETED, TrialState.DIVERGED):
            left["unfinished"].append(row.id)
        elif not steps:
            left["without_weights"].append(row.id)
        elif asking.needs_layers(asked) and not layers[row.settings_id]:
            left["without_layers"].append(row.id)
        elif row.settings_id in refused:
            left["without_inputs"].append(row.id)
        elif before[row.id, row.attempt].issuperset(steps) or asking.is_measured(
            asked, documents[row.settings_id], by, steps
        ):
            left["already"].append(row.id)
        else:
            jobs.append(_Job(row, steps))
    return jobs, LeftOut(**{name: tuple(keys) for name, keys in left.items()})


def _refuse_layers(asked: asking.Asked, documents: Collection[Mapping[str, Any]]) -> None:
    known = max((asking.layers_asked({"layers": "all"}, one) for one in documents), key=len)
    names = sorted({name for one in documents for name in layer_names(one)})
    told = f"1 to {len(known)}" + (f" ({', '.join(names[:64])})" if names else "")
    said = f"received {asked.get('layers')!r}, and no network of these trials has any of them; there are layers {told}"
    entry = {"path": "layers", "message": said, "received": str(asked.get("layers"))[:200], "allowed": known[:64]}
    raise InvalidRequest(f"layers: {said}", errors=[entry])


def _refused_inputs(
    connection: Connection, asked: asking.Asked, documents: Mapping[int, Mapping[str, Any]]
) -> frozenset[int]:
    """Settings that cannot be given the inputs. Raises InvalidRequest where all are such."""
    wanted = asking.inputs_of(asked)
    shapes = shapes_of(connection, {*datasets_of(wanted), *dataset_ids(documents.values())})
    found = {key: asking.refused_inputs(asked, document, shapes) for key, document in documents.items()}
    told = [reason for reason in found.values() if reason is not None]
    if told and len(told) == len(found):
        entry = {"path": "inputs", "message": told[0], "received": ", ".join(wanted)[:200], "allowed": ALLOWED}
        raise InvalidRequest(f"inputs: {told[0]}", errors=[entry])
    return frozenset(key for key, reason in found.items() if reason is not None)


def _kept_steps(connection: Connection, number: int) -> dict[int, list[int]]:
    """Trial -> steps whose weights it keeps."""
    kept = kept_weights.c
    found: dict[int, list[int]] = defaultdict(list)
    for key, step in connection.execute(
        select(kept.trial_id, kept.step)
        .join(experiment_trial, experiment_trial.c.trial_id == kept.trial_id)
        .where(experiment_trial.c.experiment_id == number)
        .order_by(kept.trial_id, kept.step)
    ):
        found[key].append(step)
    return found


def _refuse_steps(asked: asking.Asked, kept: Mapping[int, Sequence[int]]) -> None:
    """Refuse listed steps that no trial keeps, where some keep others."""
    known = sorted({step for steps in kept.values() for step in steps})
    unknown = [] if isinstance(asked["at"], str) else [step for step in asked["at"] if step not in known]
    if known and unknown:
        listed = ", ".join(map(str, known))
        said = f"received {unknown[0]}, of which no trial keeps weights; kept are those of steps {listed}"
        entry = {"path": "at", "message": said, "received": unknown[0], "allowed": known[:64]}
        raise InvalidRequest(f"at: {said}", errors=[entry])


def _asked_before(connection: Connection, number: int, digest: str) -> defaultdict[tuple[int, int], set[int]]:
    """(trial, its attempt) -> steps at which the same was or will be measured."""
    job = remeasured_trial.c
    found: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for key, attempt, steps in connection.execute(
        select(job.trial_id, job.trial_attempt, job.steps)
        .join(remeasurement, remeasurement.c.id == job.remeasurement_id)
        .join(experiment_trial, experiment_trial.c.trial_id == job.trial_id)
        .where(
            experiment_trial.c.experiment_id == number,
            remeasurement.c.digest == digest,
            job.state.in_([*OPEN, "completed"]),
        )
    ):
        found[key, attempt].update(steps)
    return found


def _insert_jobs(connection: Connection, key: int, jobs: Sequence[_Job]) -> None:
    for start in range(0, len(jobs), _CHUNK):
        rows = [
            {
                "remeasurement_id": key,
                "trial_id": one.trial.id,
                "trial_attempt": one.trial.attempt,
                "steps": one.steps,
                "stack_key": one.trial.stack_key,
                "device": one.trial.device,
                "state": "queued",
            }
            for one in jobs[start : start + _CHUNK]
        ]
        connection.execute(insert(remeasured_trial), rows)


def _refuse_long_queue(connection: Connection, number: int, most: int | None) -> None:
    """Refuse, and with it undo, what makes an owner's queue of kept weights too long."""
    if most is None:
        return
    owner = connection.execute(select(experiment.c.owner).where(experiment.c.id == number)).scalar_one()
    own = (
        select(remeasurement.c.id)
        .join(experiment, experiment.c.id == remeasurement.c.experiment_id)
        .where(experiment.c.owner == owner)
    )
    job = remeasured_trial.c
    query = select(func.count()).where(job.remeasurement_id.in_(own), job.state.in_(OPEN))
    waiting = int(connection.scalar(query) or 0)
    if waiting > most:
        raise TooMany(
            f"{owner} would have {waiting} trials that wait to be measured again, and may have {most}: wait, cancel "
            "some, or ask for fewer steps"
        )


def _read(connection: Connection, number: int, key: int | None = None) -> list[Remeasurement]:
    """An experiment's requests, or one of them."""
    own = remeasurement.c.experiment_id == number
    query = select(remeasurement).where(own if key is None else own & (remeasurement.c.id == key))
    requests = connection.execute(query.order_by(remeasurement.c.id)).all()
    keys = [row.id for row in requests]
    job = remeasured_trial.c
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for row in connection.execute(
        select(job.remeasurement_id, job.state, func.count().label("number"))
        .where(job.remeasurement_id.in_(keys))
        .group_by(job.remeasurement_id, job.state)
    ):
        counts[row.remeasurement_id][row.state] = row.number
    replaced: dict[int, set[str]] = defaultdict(set)
    errors: dict[int, dict[str, None]] = defaultdict(dict)
    told = select(job.remeasurement_id, job.trial_id, job.replaced, job.error).where(
        job.remeasurement_id.in_(keys), job.replaced.is_not(null()) | job.error.is_not(None)
    )
    for row in connection.execute(told.order_by(job.id)):
        replaced[row.remeasurement_id].update(row.replaced or ())
        if row.error and len(errors[row.remeasurement_id]) < _ERRORS:
            errors[row.remeasurement_id][f"{trial_id(row.trial_id)}: {row.error}"] = None
    return [
        Remeasurement(
            remeasurement_id(row.id),
            experiment_id(number),
            asking.names_asked(row.asked),
            row.asked.get("layers"),
            row.asked["at"],
            [*asking.inputs_of(row.asked)],
            row.definitions,
            sum(counts[row.id].values()),
            {state: counts[row.id][state] for state in STATES},
            row.asked["left_out"],
            sorted(replaced[row.id]),
            list(errors[row.id]),
            row.created_at,
        )
        for row in requests
    ]
