"""Deletes experiments: gone for everybody at once, and their rows some at a time, which goes on after a kill.

A large one holds neither the lock for control nor, on SQLite, the only writer's place for longer than others can wait.
"""

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, select

from service.store.keys import among
from service.store.leaving import finish, left_behind, mark
from service.store.measured_models import MEASUREMENT_TABLES, checkpoint, final, kept_state
from service.store.models import attempt, experiment, experiment_trial, saved_view, search_round, settings, trial
from service.store.partitions import PARTITIONED
from service.store.remeasurements import delete_of_trials, forget_experiment
from service.store.session import Store
from service.store.settling import decide, settle_some
from service.store.tallies import forget_tally
from service.store.wanting import adds_alone, lock_trials, one_at_a_time

_CHUNK: Final = 1_000


def erase_deleted(store: Store, is_over: Callable[[], bool] = lambda: False) -> int:
    """Delete the rows of experiments that were deleted; answers of how many nothing is left.

    Where somebody else is at one, it is left to them. Calling it again goes on, wherever it was ended.

    Args:
        store: where they are.
        is_over: asked between transactions, each well below a second; once it is so, the rest is left.
    Raises:
        StoreUnavailable: the store did not answer.
    """
    with store.read() as connection:
        query = select(experiment.c.id).where(experiment.c.deleted_at.is_not(None)).order_by(experiment.c.id)
        numbers = list(connection.scalars(query))
    gone = sum(erase(store, number, is_over) for number in numbers)
    finish(store, is_over)
    return gone


def erase(store: Store, number: int, is_over: Callable[[], bool] = lambda: False) -> bool:
    """Delete what is left of an experiment that is marked; whether it is gone by that."""
    is_left = True
    with store.write() as connection:
        one_at_a_time(connection)
        row = experiment.c
        # an older version marks it as deleted alone
        if not connection.scalar(select(row.stopping).where(row.id == number)):
            decide(connection, number, stop=True)
    while is_left:
        if is_over():
            return False
        # nobody trains for it any more, before any row goes
        with store.write() as connection:
            one_at_a_time(connection)
            is_left = settle_some(connection, number)
    with store.write() as connection:
        mark(connection, number)
    some = True
    while some:
        if is_over():
            return False
        with store.write() as connection:
            if not adds_alone(connection, number):
                return False
            some = _erase_some(connection, number)
    with store.write() as connection:
        one_at_a_time(connection)
        if not adds_alone(connection, number):
            return False
        for table in (saved_view, search_round):
            connection.execute(delete(table).where(table.c.experiment_id == number))
        forget_experiment(connection, number)
        gone = connection.execute(delete(experiment).where(experiment.c.id == number)).rowcount
        forget_tally(connection, number)
    return bool(gone)


def _erase_some(connection: Connection, number: int) -> bool:
    """Delete some links, and those of their trials that nobody else holds; whether there were any."""
    link = experiment_trial.c
    first = select(link.trial_id).where(link.experiment_id == number).order_by(link.position).limit(_CHUNK)
    keys = list(connection.scalars(first))
    if keys:
        own = (link.experiment_id == number, among(connection, link.trial_id, keys))
        connection.execute(delete(experiment_trial).where(*own))
        delete_trials(connection, keys)
    return bool(keys)


def delete_trials(connection: Connection, keys: list[int]) -> None:
    """Delete trials that no experiment holds, with all that was measured of them and settings of nobody else."""
    # locked first: a block that is being recorded for one of them ends before its rows are looked for
    lock_trials(connection, among(connection, trial.c.id, keys))
    # those that somebody submits at this moment stay
    is_held = select(1).where(experiment_trial.c.trial_id == trial.c.id).exists()
    free = select(trial.c.id, trial.c.settings_id).where(among(connection, trial.c.id, keys), ~is_held)
    rows = connection.execute(free.order_by(trial.c.id).with_for_update(skip_locked=True, of=trial)).all()
    gone = [row.id for row in rows]
    behind = left_behind(connection, gone)
    for table in (*MEASUREMENT_TABLES, final, attempt, checkpoint, kept_state):
        own = [key for key in gone if key not in behind] if table in PARTITIONED else gone
        connection.execute(delete(table).where(among(connection, table.c.trial_id, own)))
    delete_of_trials(connection, gone)
    connection.execute(delete(trial).where(among(connection, trial.c.id, gone)))
    there = select(settings.c.id).where(among(connection, settings.c.id, {row.settings_id for row in rows}))
    left = list(connection.scalars(there.order_by(settings.c.id).with_for_update(skip_locked=True)))
    is_used = select(trial.c.id).where(trial.c.settings_id == settings.c.id).exists()
    connection.execute(delete(settings).where(among(connection, settings.c.id, left), ~is_used))
