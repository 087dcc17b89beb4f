"""Thins measurements on request: fewer steps per curve, the first, the last and all final values kept.

How far a trial was thinned is noted on it, so that nobody takes a thinned curve for all that was measured, and a
request that was cut off can be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, tuple_, update

from service.states import TrialState
from service.store.experiments import require
from service.store.keys import among
from service.store.measured_models import layer_measurement, measurement, parametrised_measurement
from service.store.models import experiment_trial, trial
from service.store.session import Store
from service.store.wanting import one_at_a_time

_CHUNK = 500
_OPEN = (TrialState.QUEUED, TrialState.RUNNING)


@dataclass(frozen=True)
class ThinnedTrials:
    """What thinning did."""

    thinned: int
    """Trials that now have every n-th step."""
    unfinished: int
    shared: int
    """Left as they are, since other experiments hold them too."""
    unfit: int
    """Left as they are: thinned before, to a number of which n is no multiple."""
    rows: int
    """Deleted."""


def thin_experiment(store: Store, public_id: str, keep_every: int) -> ThinnedTrials:
    """Keep every so many-th measured step of an experiment's ended trials that no other experiment holds.

    Counted from the first measured step as it was before any thinning; the last one stays too. Raises NotFound.
    """
    with store.read() as connection:
        number = require(connection, public_id)
        mine, other = experiment_trial.alias(), experiment_trial.alias()
        is_shared = select(1).where(other.c.trial_id == trial.c.id, other.c.experiment_id != number).exists()
        rows = connection.execute(
            select(trial.c.id, trial.c.state, trial.c.kept_every, is_shared.label("is_shared"))
            .join(mine, mine.c.trial_id == trial.c.id)
            .where(mine.c.experiment_id == number)
        ).all()
    ended = [row for row in rows if row.state not in _OPEN]
    own = [row for row in ended if not row.is_shared]
    fit = [row for row in own if keep_every % row.kept_every == 0]
    gone = 0
    for start in range(0, len(fit), _CHUNK):
        gone += _thin(store, number, [row.id for row in fit[start : start + _CHUNK]], keep_every)
    return ThinnedTrials(len(fit), len(rows) - len(ended), len(ended) - len(own), len(own) - len(fit), gone)


def _thin(store: Store, number: int, keys: Sequence[int], keep_every: int) -> int:
    """Thin some trials in one transaction, as far as they still are what they were; answers the rows deleted."""
    gone = 0
    with store.write() as connection:
        one_at_a_time(connection)
        other = experiment_trial.alias()
        is_shared = select(1).where(other.c.trial_id == trial.c.id, other.c.experiment_id != number).exists()
        rows = connection.execute(
            select(trial.c.id, trial.c.kept_every)
            .where(among(connection, trial.c.id, keys), trial.c.state.not_in(_OPEN), ~is_shared)
            .order_by(trial.c.id)
            .with_for_update(key_share=True)
        ).all()
        for before in {row.kept_every for row in rows if keep_every % row.kept_every == 0}:
            same = [row.id for row in rows if row.kept_every == before]
            if keep_every > before:
                gone += _delete(connection, same, keep_every // before)
                connection.execute(
                    update(trial).where(among(connection, trial.c.id, same)).values(kept_every=keep_every)
                )
    return gone


def _delete(connection: Connection, keys: Sequence[int], every: int) -> int:
    """Delete all but every so many-th of the steps that these trials have, and their last."""
    trials = measurement.c.trial_id
    steps = (
        select(
            trials,
            measurement.c.step,
            (func.row_number().over(partition_by=trials, order_by=measurement.c.step) - 1).label("place"),
            func.count().over(partition_by=trials).label("steps"),
        )
        .where(among(connection, trials, keys))
        .subquery()
    )
    doomed = select(steps.c.trial_id, steps.c.step).where(
        steps.c.place % every != 0, steps.c.place != steps.c.steps - 1
    )
    # the network's rows last: they say which steps there are
    return sum(
        connection.execute(
            delete(table).where(
                among(connection, table.c.trial_id, keys), tuple_(table.c.trial_id, table.c.step).in_(doomed)
            )
        ).rowcount
        for table in (parametrised_measurement, layer_measurement, measurement)
    )
