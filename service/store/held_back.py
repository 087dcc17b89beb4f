"""Experiments of which some trials' rows have yet to follow what was decided, and what everybody makes of that.

What is decided about many trials is noted on their experiment and holds from then on; the rows follow some at a time,
see settling.py. Until they have, whoever reads a row asks here whether it still says what holds.
"""

from typing import NamedTuple

from sqlalchemy import Connection, and_, func, literal, or_, select, update
from sqlalchemy.sql import ColumnElement, FromClause

from service.states import ENDED, TrialState
from service.store.models import experiment, experiment_trial, is_held_back, is_there, trial

_LEASING_LOCK = 715_225_747

_stopped = select(experiment.c.id).where(
    is_held_back, experiment.c.stopping == literal(True), experiment.c.unsettled_from.is_not(None)
)

is_kept_waiting = or_(
    experiment.c.paused == literal(True), experiment.c.stopping == literal(True), experiment.c.deleted_at.is_not(None)
)
"""Experiments for which nobody leases, whatever their trials' rows say."""

_KEPT_WAITING = select(experiment.c.id).where(is_held_back, is_kept_waiting)

still_wants = and_(experiment.c.paused == literal(False), experiment.c.stopping == literal(False), is_there)
"""Experiments on whose behalf trials that they want may be leased."""


class HeldBack(NamedTuple):
    """Keys of experiments whose rows do not yet say what holds."""

    waiting: frozenset[int]
    """Their trials wait no more, or are not to be leased."""
    stopping: frozenset[int]
    """They want none of their unfinished trials."""


def held_back(connection: Connection) -> HeldBack:
    """What is being paused, cancelled and deleted at this moment: few, and found by an index of their own."""
    waiting = frozenset(connection.scalars(_KEPT_WAITING))
    return HeldBack(waiting, stopping(connection) if waiting else frozenset())


def stopping(connection: Connection) -> frozenset[int]:
    """Experiments that want none of their unfinished trials, while some links say that they do."""
    return frozenset(connection.scalars(_stopped))


def is_wanted(link: FromClause, one: FromClause = trial) -> ColumnElement[bool]:
    """Whether the experiment of a link wants its trial: what is being cancelled wants what has ended alone."""
    is_over = one.c.state.in_([state.value for state in sorted(ENDED)])
    return and_(link.c.wanted == literal(True), or_(is_over, link.c.experiment_id.not_in(_stopped)))


def is_cancelled(besides: int = 0) -> ColumnElement[bool]:
    """Whether a trial is cancelled: its row says so, or it waits and all that wanted it are being cancelled.

    With `besides`, for others than the experiment with this key.
    """
    link = experiment_trial.alias()
    wanted = select(1).where(link.c.trial_id == trial.c.id, link.c.wanted == literal(True))
    others = wanted.where(link.c.experiment_id != besides, link.c.experiment_id.not_in(_stopped))
    is_left = and_(
        trial.c.state == TrialState.QUEUED, wanted.where(link.c.experiment_id.in_(_stopped)).exists(), ~others.exists()
    )
    return or_(trial.c.state == TrialState.CANCELLED, is_left)


def let_go(connection: Connection, experiments: frozenset[int], here: ColumnElement[bool]) -> None:
    """Let experiments that are being cancelled want none of some unfinished trials, whose turn it would be later.

    Whatever becomes of such a trial for others is then theirs alone.

    Args:
        connection: with the trials locked.
        experiments: those that are being cancelled; mostly none.
        here: a condition on trials.
    """
    if experiments:
        link = experiment_trial.c
        open_ones = select(trial.c.id).where(here, trial.c.state.not_in(ENDED))
        own = (link.wanted == literal(True), link.experiment_id.in_(experiments), link.trial_id.in_(open_ones))
        # looked at again by the statement itself: nobody is cancelled for what was cancelled a moment ago
        connection.execute(update(experiment_trial).where(*own, link.experiment_id.in_(_stopped)).values(wanted=False))


def begin_leasing(connection: Connection) -> None:
    """Say that this transaction leases: it sees what was decided before, and `end_of_leases` waits for it."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(_LEASING_LOCK)))


def end_of_leases(connection: Connection) -> None:
    """Wait until those have ended who lease by what held before; a lease is a matter of milliseconds."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LEASING_LOCK)))
