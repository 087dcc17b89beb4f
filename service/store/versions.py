"""Whether what an answer is made from can still change, and a short text that changes when it does."""

import hashlib
import json
from collections.abc import Sequence

from sqlalchemy import Integer, and_, cast, func, literal, select

from service.states import TrialState
from service.store import incarnation
from service.store.experiments import require
from service.store.models import experiment, experiment_trial, remeasured_trial, trial
from service.store.remeasured import DONE
from service.store.session import Store
from service.store.trial_rows import trial_by_key

_UNFINISHED = (TrialState.QUEUED, TrialState.RUNNING)


def version_of(
    store: Store, experiments: Sequence[str], *, while_running: bool = False, most_trials: int | None = None
) -> str | None:
    """The version of the trials of experiments, of all that was measured for them, and of their claims.

    It names the store's life too: a restored backup hands the same ids out again.

    None while a trial is unfinished; with `while_running`, what an answer without unfinished trials' measurements is
    made from has a version then too: every trial that starts or ends is another one. None also for more than
    `most_trials`, where answering costs less than looking at them all.
    """
    link = experiment_trial.c
    is_open = and_(link.wanted == literal(True), trial.c.state.in_(_UNFINISHED))
    with store.read() as connection:
        numbers = [require(connection, one) for one in experiments]
        parts = [str(incarnation.life_of(connection))]
        for number in numbers:
            kept = experiment.c
            about = select(kept.claims, kept.axes, kept.trials, kept.searching, kept.stopped).where(kept.id == number)
            claims, axes, trials, searching, stopped = connection.execute(about).one()
            if most_trials is not None and trials > most_trials:
                return None
            row = connection.execute(
                select(
                    func.count(),
                    func.coalesce(func.sum(cast(is_open, Integer)), 0),
                    func.sum(trial.c.attempt),
                    func.max(trial.c.ended_at),
                    func.sum(cast(link.wanted, Integer)),
                    func.sum(trial.c.kept_every),
                    func.sum(cast(trial.c.state == TrialState.RUNNING, Integer)),
                )
                .select_from(experiment_trial.join(trial, trial.c.id == link.trial_id))
                .where(link.experiment_id == number)
            ).one()
            # one that searches may have more to come
            if (row[1] or searching) and not while_running:
                return None
            again = connection.scalar(
                select(func.count())
                .select_from(remeasured_trial)
                .join(experiment_trial, link.trial_id == remeasured_trial.c.trial_id)
                .where(link.experiment_id == number, remeasured_trial.c.state == DONE)
            )
            digest = hashlib.sha256(json.dumps([claims, axes, bool(searching), stopped]).encode()).hexdigest()[:16]
            parts.append(f"{number}:{row[0]}:{row[2]}:{row[3]}:{row[4]}:{row[5]}:{row[1]}:{row[6]}:{again}:{digest}")
    return " ".join(parts)


def trial_version(store: Store, key: int) -> str | None:
    """The version of what was measured of a trial; None while it is unfinished or where there is none."""
    with store.read() as connection:
        row, life = trial_by_key(connection, key), incarnation.life_of(connection)
        mine = (remeasured_trial.c.trial_id == key) & (remeasured_trial.c.state == DONE)
        again = connection.scalar(select(func.count()).select_from(remeasured_trial).where(mine))
    if row is None or row.state in _UNFINISHED:
        return None
    return f"{life} {key}:{row.attempt}:{row.ended_at}:{row.kept_every}:{again}"
