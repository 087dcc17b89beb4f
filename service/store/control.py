"""Cancel, pause, resume, retry, change and delete experiments; a trial that others want stays as it is."""

import contextlib
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, literal, select, update

from service.errors import StoreUnavailable
from service.states import TrialState
from service.store.beginnings import follow, forget
from service.store.deletions import erase
from service.store.experiments import Experiment, count_states, get_experiment, is_unfinished, require
from service.store.ids import experiment_number
from service.store.measured_models import final
from service.store.models import experiment, experiment_trial, idempotency, trial
from service.store.remeasurements import cancel_open
from service.store.session import Store, utc_now
from service.store.settling import decide, finish, finish_now, settle_some, take_running
from service.store.submissions import searches
from service.store.subscriptions import rearm
from service.store.wanting import AS_NEW, count_resting, one_at_a_time, refuse_long_queue, settle


def cancel_experiment(store: Store, public_id: str) -> Experiment:
    """Stop wanting every unfinished trial; those that nobody else wants are cancelled, running ones too.

    So is the measuring of kept weights for it. What was measured is kept. It holds once this answers; the rows of many
    that wait follow later, see settling.py. Raises NotFound.
    """
    with store.write() as connection:
        number = _begin(connection, public_id)
        connection.execute(update(experiment).where(experiment.c.id == number).values(searching=False))
        cancel_open(connection, number)
        is_left = decide(connection, number, stop=True)
    if is_left:
        take_running(store, number)
    return get_experiment(store, public_id)


def pause_experiment(store: Store, public_id: str) -> Experiment:
    """Lease nothing on its behalf; what runs for it alone goes back to the queue. What has ended stays as it is.

    The rows of many trials follow later, as those that are cancelled do. Raises NotFound.
    """
    is_left = False
    with store.write() as connection:
        number = _begin(connection, public_id)
        searching = connection.scalar(select(experiment.c.searching).where(experiment.c.id == number))
        if searching or is_unfinished(count_states(connection, [number])[number]):
            connection.execute(update(experiment).where(experiment.c.id == number).values(paused=True))
            is_left = decide(connection, number)
    if is_left:
        take_running(store, number)
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
    finish(store, experiment_number(public_id))
    with store.write() as connection:
        number = _begin(connection, public_id)
        finish_now(connection, number)
        if which == "cancelled":
            left = (experiment_trial.c.experiment_id == number, experiment_trial.c.wanted == literal(False))
            connection.execute(update(experiment_trial).where(*left).values(wanted=True))
        links = select(experiment_trial.c.trial_id).where(
            experiment_trial.c.experiment_id == number, experiment_trial.c.wanted == literal(True)
        )
        again = select(trial.c.id).where(trial.c.id.in_(links), trial.c.state == TrialState(which))
        connection.execute(delete(final).where(final.c.trial_id.in_(again)))
        forget(connection, trial.c.id.in_(again))
        connection.execute(update(trial).where(trial.c.id.in_(again)).values(**AS_NEW))
        follow(connection, number)
        settle(connection, number)
        rearm(connection, number)
        one = connection.execute(select(experiment.c.owner, experiment.c.grid).where(experiment.c.id == number)).one()
        # what is trained again may move a boundary
        again_searching = {"searching": searches(one.grid), "stopped": None}
        connection.execute(update(experiment).where(experiment.c.id == number).values(**again_searching))
        refuse_long_queue(connection, one.owner, max_queued)
    return get_experiment(store, public_id)


AT_ONCE: Final = 1_000
"""An experiment of so many trials is deleted whole by who asks for it."""


def delete_experiment(store: Store, public_id: str) -> None:
    """Delete it and every trial that no other experiment holds, with all that was measured.

    From then on nobody finds it. The rows of a large one are left to `deletions.erase_deleted`. Raises NotFound.
    """
    with store.write() as connection:
        number = _begin(connection, public_id)
        marked = {"deleted_at": utc_now(), "searching": False, "paused": True}
        connection.execute(update(experiment).where(experiment.c.id == number).values(**marked))
        cancel_open(connection, number)
        connection.execute(delete(idempotency).where(idempotency.c.experiment_id == number))
        trials = connection.scalar(select(experiment.c.trials).where(experiment.c.id == number)) or 0
        decide(connection, number, stop=True)
    if trials <= AT_ONCE:
        with contextlib.suppress(StoreUnavailable):
            erase(store, number)


def _begin(connection: Connection, public_id: str) -> int:
    """The experiment's key, with nobody else changing who wants what."""
    one_at_a_time(connection)
    return require(connection, public_id)


def _change(store: Store, public_id: str, values: dict[str, Any], max_queued: int | None = None) -> Experiment:
    with store.write() as connection:
        number = _begin(connection, public_id)
        was = connection.execute(select(experiment.c.owner, experiment.c.paused).where(experiment.c.id == number)).one()
        if values:
            connection.execute(update(experiment).where(experiment.c.id == number).values(**values))
        if was.paused and max_queued is not None:
            refuse_long_queue(connection, was.owner, max_queued, count_resting(connection, number))
        if values.keys() & {"priority", "paused"} and decide(connection, number):
            # dispatchers have something to begin with
            settle_some(connection, number)
    return get_experiment(store, public_id)
