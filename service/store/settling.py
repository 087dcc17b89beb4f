"""Lets trials follow what was decided about their experiment: a few at once, of many some at a time.

A decision (pause, resume, priority, cancel, delete) holds once it is noted on the experiment, see held_back.py. What
runs is taken from its holders by whoever decides; what waits is settled in pieces by the API, one at a time, which
goes on after a kill. Decisions come in any order: settling begins anew with each, and draws what holds then.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from sqlalchemy import Connection, func, select, update

from service.store.held_back import end_of_leases, stopping
from service.store.models import experiment, experiment_trial, is_held_back, runs, trial
from service.store.session import Store
from service.store.wanting import (
    Piece,
    one_at_a_time,
    settle,
    settle_trials,
    settles_alone,
    stop_wanting,
    stop_wanting_trials,
)

PIECE: Final = 500
"""Trials that follow before others get their turn, some 50 ms; so many follow at once."""


def decide(connection: Connection, number: int, *, stop: bool = False) -> bool:
    """Note that an experiment's trials have yet to follow what was decided; under the lock for control.

    Args:
        connection: with the decision on the experiment's row.
        number: its key.
        stop: it wants none of its unfinished trials any more.
    Returns:
        Whether some have still to follow; where there are few, all have.
    """
    noted = {"unsettled_from": 0} | ({"stopping": True} if stop else {})
    connection.execute(update(experiment).where(experiment.c.id == number).values(**noted))
    if _after_last(connection, number) > PIECE:
        return True
    return settle_some(connection, number)


def take_running(store: Store, number: int) -> None:
    """Take from their holders what they run for an experiment that was paused or cancelled; of many, some at a time."""
    with store.write() as connection:
        end_of_leases(connection)
    with store.read() as connection:
        linked = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
        keys = list(connection.scalars(select(trial.c.id).where(runs, trial.c.id.in_(linked)).order_by(trial.c.id)))
    for start in range(0, len(keys), PIECE):
        with store.write() as connection:
            one_at_a_time(connection)
            change = stop_wanting_trials if number in stopping(connection) else _settle_these
            change(connection, number, keys[start : start + PIECE])


def _settle_these(connection: Connection, _: int, keys: Collection[int]) -> None:
    settle_trials(connection, keys)


def settle_some(connection: Connection, number: int) -> bool:
    """Let the next of an experiment's trials follow; under the lock for control. Whether any are left."""
    row = experiment.c
    found = connection.execute(select(row.unsettled_from, row.stopping).where(row.id == number)).one_or_none()
    if found is None or found.unsettled_from is None:
        return False
    following = found.unsettled_from + PIECE
    change = stop_wanting if found.stopping else settle
    change(connection, number, Piece(found.unsettled_from, following))
    is_left = following < _after_last(connection, number)
    # what is deleted says for good that it wants nothing
    noted = (
        {"unsettled_from": following} if is_left else {"unsettled_from": None, "stopping": row.deleted_at.is_not(None)}
    )
    connection.execute(update(experiment).where(row.id == number).values(**noted))
    return is_left


def settle_all(store: Store, is_over: Callable[[], bool] = lambda: False) -> bool:
    """Settle everything that has yet to follow; where somebody else is at it, that is left to them.

    Args:
        store: where it is.
        is_over: asked between transactions; once it is so, the rest is left.
    Returns:
        Whether nothing is left.
    Raises:
        StoreUnavailable: the store did not answer.
    """
    with store.read() as connection:
        query = select(experiment.c.id).where(is_held_back, experiment.c.unsettled_from.is_not(None))
        numbers = list(connection.scalars(query.order_by(experiment.c.id)))
    return all(_settle_whole(store, number, is_over) for number in numbers)


def _settle_whole(store: Store, number: int, is_over: Callable[[], bool]) -> bool:
    is_left = True
    while is_left:
        if is_over():
            return False
        with store.write() as connection:
            # before the lock for control: several processes would keep others from it in turn
            if not settles_alone(connection):
                return False
            one_at_a_time(connection)
            is_left = settle_some(connection, number)
    return True


def finish(store: Store, public_number: int) -> None:
    """Settle what is being cancelled of an experiment and of those that share trials with it, a piece at a time.

    For who is about to want or retry them: what was cancelled before is cancelled then, and not again.
    """
    with store.read() as connection:
        numbers = _in_the_way(connection, public_number)
    for number in numbers:
        is_left = True
        while is_left:
            with store.write() as connection:
                one_at_a_time(connection)
                is_left = number in stopping(connection) and settle_some(connection, number)


def finish_now(connection: Connection, number: int, below: int | None = None) -> None:
    """The same in a transaction, under the lock for control; mostly there is nothing to do.

    Args:
        connection: of it.
        number: the experiment that is about to change.
        below: its trials at positions from here on came after it was cancelled, and it wants them.
    """
    for other in _in_the_way(connection, number):
        if other == number and below is not None:
            _finish_below(connection, number, below)
        else:
            while settle_some(connection, other):
                pass


def _finish_below(connection: Connection, number: int, below: int) -> None:
    first = connection.scalar(select(experiment.c.unsettled_from).where(experiment.c.id == number)) or 0
    for start in range(first, below, PIECE):
        stop_wanting(connection, number, Piece(start, min(start + PIECE, below)))
    noted = {"unsettled_from": None, "stopping": False}
    connection.execute(update(experiment).where(experiment.c.id == number).values(**noted))


def _in_the_way(connection: Connection, number: int) -> Sequence[int]:
    """What is being cancelled: this experiment, and others that want its trials."""
    found = stopping(connection)
    if not found:
        return ()
    mine, other = experiment_trial.alias(), experiment_trial.alias()
    shared = (
        select(other.c.experiment_id)
        .join(mine, mine.c.trial_id == other.c.trial_id)
        .where(mine.c.experiment_id == number, other.c.experiment_id.in_(found - {number}))
        .distinct()
    )
    return sorted({number} & found | set(connection.scalars(shared)))


def _after_last(connection: Connection, number: int) -> int:
    """The position after an experiment's last one."""
    last = select(func.max(experiment_trial.c.position)).where(experiment_trial.c.experiment_id == number)
    found = connection.scalar(last)
    return 0 if found is None else int(found) + 1
