"""Cancel, pause, resume, retry, change and delete experiments; a trial that others want stays as it is."""

from typing import Any, Literal

from sqlalchemy import Connection, delete, literal, select, update

from service.states import TrialState
from service.store.beginnings import follow, forget
from service.store.experiments import Experiment, count_states, get_experiment, is_unfinished, require
from service.store.models import (
    MEASUREMENT_TABLES,
    attempt,
    checkpoint,
    experiment,
    experiment_trial,
    final,
    idempotency,
    kept_state,
    saved_view,
    search_round,
    settings,
    trial,
)
from service.store.remeasurements import cancel_open, delete_of_trials, forget_experiment
from service.store.session import Store
from service.store.submissions import searches
from service.store.wanting import AS_NEW, one_at_a_time, refuse_long_queue, settle


def cancel_experiment(store: Store, public_id: str) -> Experiment:
    """Stop wanting every unfinished trial; those that nobody else wants are cancelled, running ones too.

    So is the measuring of kept weights for it. What was measured is kept. Raises NotFound.
    """
    with store.write() as connection:
        number = _begin(connection, public_id)
        _cancel(connection, number)
        cancel_open(connection, number)
    return get_experiment(store, public_id)


def pause_experiment(store: Store, public_id: str) -> Experiment:
    """Lease nothing on its behalf; what runs for it alone goes back to the queue. What has ended stays as it is.

    Raises NotFound.
    """
    with store.write() as connection:
        number = _begin(connection, public_id)
        searching = connection.scalar(select(experiment.c.searching).where(experiment.c.id == number))
        if searching or is_unfinished(count_states(connection, [number])[number]):
            connection.execute(update(experiment).where(experiment.c.id == number).values(paused=True))
            settle(connection, number)
    return get_experiment(store, public_id)


def resume_experiment(store: Store, public_id: str, max_queued: int | None = None) -> Experiment:
    """Go on after a pause.

    Raises:
        NotFound: there is no such experiment.
        TooMany: its owner would have more than `max_queued` unfinished trials.
    """
    return _change(store, public_id, {"paused": False}, max_queued)


def change_experiment(store: Store, public_id: str, changes: dict[str, Any]) -> Experiment:
    """Change name, notes, tags, star or priority; a new priority holds for what still waits. Raises NotFound."""
    unknown = set(changes) - {"name", "notes", "tags", "priority", "starred"}
    if unknown:
        raise ValueError(f"cannot change {sorted(unknown)}")
    return _change(store, public_id, changes)


def retry_experiment(
    store: Store, public_id: str, which: Literal["failed", "diverged", "cancelled"], max_queued: int | None = None
) -> Experiment:
    """Queue its failed, diverged or cancelled trials again, for every experiment that holds them.

    Raises:
        NotFound: there is no such experiment.
        TooMany: its owner would have more than `max_queued` unfinished trials.
    """
    with store.write() as connection:
        number = _begin(connection, public_id)
        if which == "cancelled":
            connection.execute(
                update(experiment_trial).where(experiment_trial.c.experiment_id == number).values(wanted=True)
            )
        links = select(experiment_trial.c.trial_id).where(
            experiment_trial.c.experiment_id == number, experiment_trial.c.wanted == literal(True)
        )
        again = select(trial.c.id).where(trial.c.id.in_(links), trial.c.state == TrialState(which))
        connection.execute(delete(final).where(final.c.trial_id.in_(again)))
        forget(connection, trial.c.id.in_(again))
        connection.execute(update(trial).where(trial.c.id.in_(again)).values(**AS_NEW))
        follow(connection, number)
        settle(connection, number)
        one = connection.execute(select(experiment.c.owner, experiment.c.grid).where(experiment.c.id == number)).one()
        # what is trained again may move a boundary
        again_searching = {"searching": searches(one.grid), "stopped": None}
        connection.execute(update(experiment).where(experiment.c.id == number).values(**again_searching))
        refuse_long_queue(connection, one.owner, max_queued)
    return get_experiment(store, public_id)


def delete_experiment(store: Store, public_id: str) -> None:
    """Delete it and every trial that no other experiment holds, with all that was measured. Raises NotFound."""
    with store.write() as connection:
        number = _begin(connection, public_id)
        _cancel(connection, number)
        links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
        other = experiment_trial.alias()
        is_held = select(other.c.trial_id).where(other.c.trial_id == trial.c.id, other.c.experiment_id != number)
        orphans = list(connection.scalars(select(trial.c.id).where(trial.c.id.in_(links), ~is_held.exists())))
        connection.execute(delete(experiment_trial).where(experiment_trial.c.experiment_id == number))
        connection.execute(delete(idempotency).where(idempotency.c.experiment_id == number))
        connection.execute(delete(saved_view).where(saved_view.c.experiment_id == number))
        connection.execute(delete(search_round).where(search_round.c.experiment_id == number))
        forget_experiment(connection, number)
        connection.execute(delete(experiment).where(experiment.c.id == number))
        for start in range(0, len(orphans), _CHUNK):
            delete_trials(connection, orphans[start : start + _CHUNK])


_CHUNK = 5_000


def delete_trials(connection: Connection, keys: list[int]) -> None:
    """Delete trials that no experiment holds, with all that was measured of them and settings of nobody else."""
    # locked first: a block that is being recorded for one of them ends before its rows are looked for
    locked = select(trial.c.settings_id).where(trial.c.id.in_(keys)).order_by(trial.c.id).with_for_update()
    of_them = set(connection.scalars(locked))
    for table in (*MEASUREMENT_TABLES, final, attempt, checkpoint, kept_state):
        connection.execute(delete(table).where(table.c.trial_id.in_(keys)))
    delete_of_trials(connection, keys)
    connection.execute(delete(trial).where(trial.c.id.in_(keys)))
    is_used = select(trial.c.id).where(trial.c.settings_id == settings.c.id).exists()
    connection.execute(delete(settings).where(settings.c.id.in_(of_them), ~is_used))


def _begin(connection: Connection, public_id: str) -> int:
    """The experiment's key, with nobody else changing who wants what."""
    one_at_a_time(connection)
    return require(connection, public_id)


def _cancel(connection: Connection, number: int) -> None:
    unfinished = select(trial.c.id).where(trial.c.state.in_([TrialState.QUEUED, TrialState.RUNNING]))
    connection.execute(
        update(experiment_trial)
        .where(experiment_trial.c.experiment_id == number, experiment_trial.c.trial_id.in_(unfinished))
        .values(wanted=False)
    )
    connection.execute(update(experiment).where(experiment.c.id == number).values(searching=False))
    settle(connection, number)


def _change(store: Store, public_id: str, values: dict[str, Any], max_queued: int | None = None) -> Experiment:
    with store.write() as connection:
        number = _begin(connection, public_id)
        was = connection.execute(select(experiment.c.owner, experiment.c.paused).where(experiment.c.id == number)).one()
        if values:
            connection.execute(update(experiment).where(experiment.c.id == number).values(**values))
        if values.keys() & {"priority", "paused"}:
            settle(connection, number)
        if was.paused:
            refuse_long_queue(connection, was.owner, max_queued)
    return get_experiment(store, public_id)
