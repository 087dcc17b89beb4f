"""Which experiments want a trial, and what follows: on whose behalf it waits, or that nobody wants it any more.

A link (experiment, trial) is wanted until the experiment is cancelled. A trial may be leased while some unpaused
experiment wants it. What follows from links, pauses and priorities is noted on the trial itself, so that leasing
reads an index instead of joining the queue with them.
"""

import hashlib
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, func, literal, null, or_, select, update
from sqlalchemy.sql import ColumnElement, FromClause

from service.errors import TooMany
from service.states import TrialState
from service.store.attempts import close_attempts
from service.store.checkpoints import drop_checkpoints
from service.store.held_back import is_wanted, let_go, still_wants, stopping
from service.store.holders import note_taken
from service.store.keys import among
from service.store.models import experiment, experiment_trial, runs, trial, waits
from service.store.session import utc_now

_CONTROL_LOCK = 715_225_742
_SETTLING_LOCK = 715_225_748
_KEY_LOCK, _ADDING_LOCK, _UPLOAD_LOCK = 715_225_743, 715_225_744, 715_225_746
"""Of Idempotency-Keys and of what is added to experiments; a lock of these has a second number."""
_UNFINISHED = (TrialState.QUEUED, TrialState.RUNNING)
AS_NEW: dict[str, Any] = {
    "state": TrialState.QUEUED,
    "failures": 0,
    "interruptions": 0,
    "stack_limit": 0,
    "kept_every": 1,
    "follows": None,
    "continued_from": None,
    "error": None,
    "last_step": None,
    "provenance": None,
    "started_at": None,
    "ended_at": None,
}
"""A trial that is to be run again. Its attempt number stays: it only ever grows."""


def one_at_a_time(connection: Connection) -> None:
    """Let everything that changes who wants what wait for each other, as SQLite's writers do anyway.

    A cancel then cannot miss that another experiment is about to want the trial, and overlapping experiments cannot
    deadlock on each other's trials. It is taken for as short as can be: what many trials take long for comes before
    (what is inserted is nobody else's yet), or in pieces, each under the lock by itself.

    What is taken before it, trials are kept from being deleted by (FOR KEY SHARE), must not be waited for under it:
    whoever has it locks trials FOR NO KEY UPDATE, and deletes no others than it gets at once.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_CONTROL_LOCK)))


def one_key_at_a_time(connection: Connection, owner: str, key: str) -> None:
    """Let repeats of an Idempotency-Key wait for the first, and then find it."""
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(f"{owner}\0{key}".encode()).digest()[:4], "big", signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(_KEY_LOCK, number)))


def one_upload_at_a_time(connection: Connection, owner: str) -> None:
    """Let uploads of one owner wait for each other: each then counts those before it."""
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:4], "big", signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(_UPLOAD_LOCK, number)))


def add_alone(connection: Connection, number: int) -> None:
    """Let what adds trials to one experiment wait for each other; for who has not begun `one_at_a_time`."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_ADDING_LOCK, number % 2**31)))


def adds_alone(connection: Connection, number: int) -> bool:
    """Whether nobody else adds trials to an experiment until the transaction ends; it does not wait for them."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_ADDING_LOCK, number % 2**31))))


def is_alone(connection: Connection) -> bool:
    """Whether nobody else changes who wants what until the transaction ends; it does not wait for them."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_CONTROL_LOCK))))


def settles_alone(connection: Connection) -> bool:
    """Whether nobody else settles in the background until the transaction ends; it does not wait for them."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_SETTLING_LOCK))))


def lock_trials(connection: Connection, condition: ColumnElement[bool], *, skip_locked: bool = False) -> list[int]:
    """Lock trials until the transaction ends, and answer their keys; in key order, so that nobody waits in a circle.

    Who submits them once more at this moment goes on, and so does this.
    """
    query = select(trial.c.id).where(condition).order_by(trial.c.id)
    return list(connection.scalars(query.with_for_update(skip_locked=skip_locked, key_share=True)))


class Piece(NamedTuple):
    """Some of an experiment's trials: those at positions from the first to below the last."""

    first: int
    last: int


def in_piece(link: FromClause, number: int, piece: Piece | None) -> ColumnElement[bool]:
    """Whether a link is one of an experiment's, and of a piece of them."""
    own = link.c.experiment_id == number
    return own if piece is None else and_(own, link.c.position >= piece.first, link.c.position < piece.last)


def settle(connection: Connection, number: int, piece: Piece | None = None) -> None:
    """Draw the consequences of a change of an experiment's links, pause or priority for its unfinished trials.

    Each is noted to wait for the unpaused experiment of highest priority that wants it, among those the smallest:
    a small sweep does not wait for a large one that it overlaps. A trial that only paused experiments want goes back
    to the queue and rests there, as one does that follows a shorter one; one that nobody wants is cancelled.
    """
    links = select(experiment_trial.c.trial_id).where(in_piece(experiment_trial, number, piece))
    _settle(connection, trial.c.id.in_(links), lambda link: in_piece(link, number, piece))


def stop_wanting(connection: Connection, number: int, piece: Piece) -> None:
    """Let an experiment want none of these trials that has not ended."""
    link = experiment_trial
    here = trial.c.id.in_(select(link.c.trial_id).where(in_piece(link, number, piece)))
    _stop_wanting(connection, here, in_piece(link, number, piece))
    settle(connection, number, piece)


def stop_wanting_trials(connection: Connection, number: int, keys: Collection[int]) -> None:
    """The same for these trials of it."""
    link = experiment_trial.c
    own = and_(link.experiment_id == number, among(connection, link.trial_id, keys))
    _stop_wanting(connection, among(connection, trial.c.id, keys), own)
    settle_trials(connection, keys)


def _stop_wanting(connection: Connection, here: ColumnElement[bool], linked: ColumnElement[bool]) -> None:
    """For trials and their links, a condition each."""
    link = experiment_trial
    is_open = trial.c.state.in_([*_UNFINISHED])
    if connection.dialect.name == "postgresql":
        # what ends at this moment has ended
        lock_trials(connection, and_(here, is_open))
    unfinished = select(trial.c.id).where(is_open)
    own = (linked, link.c.trial_id.in_(unfinished), link.c.wanted == literal(True))
    connection.execute(update(link).where(*own).values(wanted=False))


def settle_trials(connection: Connection, keys: Collection[int]) -> None:
    """The same for these trials alone, whoever wants them."""
    if not keys:
        return
    _settle(connection, among(connection, trial.c.id, keys), lambda link: among(connection, link.c.trial_id, keys))


def _settle(
    connection: Connection, here: ColumnElement[bool], linked: Callable[[FromClause], ColumnElement[bool]]
) -> None:
    """Settle trials: a condition on them, and one on a link of theirs."""
    unfinished = and_(here, trial.c.state.in_(_UNFINISHED))
    if connection.dialect.name == "postgresql":
        lock_trials(connection, unfinished)
    let_go(connection, stopping(connection), here)
    other = experiment_trial.alias()
    is_wanted = select(other.c.trial_id).where(other.c.trial_id == trial.c.id, other.c.wanted == literal(True)).exists()
    # first, so that what is cancelled is written once
    _take(connection, and_(unfinished, ~is_wanted), TrialState.CANCELLED, "cancelled")
    best = _best_holders(linked)
    holder = case((trial.c.follows.is_(None), best.c.holder), else_=null())
    is_changed = or_(trial.c.queued_for.is_distinct_from(holder), trial.c.priority != func.coalesce(best.c.priority, 0))
    connection.execute(
        update(trial)
        .where(trial.c.id == best.c.trial_id, best.c.place == 1, trial.c.state.in_(_UNFINISHED), is_changed)
        .values(queued_for=holder, priority=func.coalesce(best.c.priority, 0))
    )
    rests = and_(unfinished, trial.c.queued_for.is_(None), trial.c.state == TrialState.RUNNING)
    _take(connection, rests, TrialState.QUEUED, "paused")


def refuse_long_queue(connection: Connection, owner: str, most: int | None, more: int = 0) -> None:
    """Refuse, and with it undo, what makes an owner's queue too long.

    Args:
        connection: with the change made and settled.
        owner: of the experiment that is changed.
        most: trials that may wait or run for them; paused ones do not count until they go on. None: any number.
        more: trials that are about to wait for them besides.
    Raises:
        TooMany: with both numbers.
    """
    if most is None:
        return
    own = select(experiment.c.id).where(experiment.c.owner == owner, still_wants)
    query = select(func.count()).select_from(trial).where(or_(waits, runs), trial.c.queued_for.in_(own))
    waiting = int(connection.scalar(query) or 0) + _count_following(connection, owner) + more
    if waiting > most:
        raise TooMany(
            f"{owner} would have {waiting} unfinished trials, and may have {most}: wait, cancel some, or ask for more"
        )


def count_resting(connection: Connection, number: int) -> int:
    """Trials that wait for nobody now, and will for this experiment once it goes on."""
    link = experiment_trial
    query = (
        select(func.count())
        .select_from(link.join(trial, trial.c.id == link.c.trial_id))
        .where(link.c.experiment_id == number, is_wanted(link))
        .where(trial.c.state == TrialState.QUEUED, trial.c.queued_for.is_(None), trial.c.follows.is_(None))
    )
    return int(connection.scalar(query) or 0)


def _count_following(connection: Connection, owner: str) -> int:
    """Trials of an owner's unpaused experiments that wait for shorter ones."""
    link = experiment_trial
    query = (
        select(func.count(trial.c.id.distinct()))
        .join(link, and_(link.c.trial_id == trial.c.id, link.c.wanted == literal(True)))
        .join(experiment, experiment.c.id == link.c.experiment_id)
        .where(trial.c.follows.is_not(None), trial.c.state == TrialState.QUEUED)
        .where(experiment.c.owner == owner, still_wants)
    )
    return int(connection.scalar(query) or 0)


def _best_holders(linked: Callable[[FromClause], ColumnElement[bool]]) -> Any:
    """Of each of these trials its holders by place; a holder that may not have it run is NULL and last."""
    mine, link = experiment_trial.alias(), experiment_trial.alias()
    may_run = and_(
        experiment.c.id == link.c.experiment_id,
        link.c.wanted == literal(True),
        still_wants,
    )
    order = (
        case((experiment.c.id.is_(None), 1), else_=0),
        experiment.c.priority.desc(),
        experiment.c.trials,
        experiment.c.id,
    )
    return (
        select(
            mine.c.trial_id,
            experiment.c.id.label("holder"),
            experiment.c.priority,
            func.row_number().over(partition_by=mine.c.trial_id, order_by=order).label("place"),
        )
        .select_from(mine.join(link, link.c.trial_id == mine.c.trial_id).outerjoin(experiment, may_run))
        .where(linked(mine))
        .subquery()
    )


def _take(connection: Connection, condition: ColumnElement[bool], state: TrialState, outcome: str) -> None:
    """Take trials from whoever runs them; their attempts end with this outcome."""
    taken = connection.scalars(
        update(trial)
        .where(condition)
        .values(
            state=state,
            ended_at=utc_now() if state == TrialState.CANCELLED else None,
            queued_for=None,
            priority=0,
            owner=None,
            lease_until=None,
            lease_clock=None,
        )
        .returning(trial.c.id)
    ).all()
    note_taken(connection, taken)
    close_attempts(connection, taken, outcome)
    if state == TrialState.CANCELLED:
        drop_checkpoints(connection, taken)
