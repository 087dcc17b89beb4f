"""Whether what an answer is made from can still change, and a short text that changes when it does."""

import hashlib
import json
from collections.abc import Sequence

from sqlalchemy import func, select

from service.states import TrialState
from service.store import incarnation
from service.store.experiments import require
from service.store.models import experiment, experiment_trial, remeasured_trial
from service.store.remeasured import DONE
from service.store.session import Store
from service.store.tallies import tallies
from service.store.trial_rows import trial_by_key

_UNFINISHED = (TrialState.QUEUED, TrialState.RUNNING)


def version_of(store: Store, experiments: Sequence[str], *, while_running: bool = False) -> str | None:
    """The version of the trials of experiments, of all that was measured for them, and of their claims.

    It names the store's life too: a restored backup hands the same ids out again.

    None while a trial is unfinished; with `while_running`, what an answer without unfinished trials' measurements is
    made from has a version then too: every trial that starts or ends is another one.
    """
    with store.read() as connection:
        numbers = [require(connection, one) for one in experiments]
        parts = [str(incarnation.life_of(connection))]
        kept = tallies(connection, numbers)
        for number in numbers:
            row = experiment.c
            about = select(row.claims, row.axes, row.trials, row.searching, row.stopped).where(row.id == number)
            claims, axes, trials, searching, stopped = connection.execute(about).one()
            # one that searches may have more to come
            if (kept[number].unfinished or searching) and not while_running:
                return None
            linked = select(1).where(
                experiment_trial.c.trial_id == remeasured_trial.c.trial_id, experiment_trial.c.experiment_id == number
            )
            again = connection.scalar(
                select(func.count())
                .select_from(remeasured_trial)
                .where(remeasured_trial.c.state == DONE, linked.exists())
            )
            digest = hashlib.sha256(json.dumps([claims, axes, bool(searching), stopped]).encode()).hexdigest()[:16]
            parts.append(f"{number}:{trials}:{kept[number].changes}:{again}:{digest}")
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
