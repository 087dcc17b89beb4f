"""Optimiser steps that an experiment's trials have done and have yet to do, for progress and speed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, literal, select

from service.states import TrialState
from service.store.ids import experiment_number
from service.store.known_settings import documents_of
from service.store.measured_models import measurement
from service.store.models import experiment_trial, runs, trial
from service.store.session import Store
from service.store.tallies import Tally, tallies

MOST_LOOKED_AT: Final = 1_000
"""Running trials; of more, these stand for all."""


@dataclass(frozen=True)
class StepCounts:
    """Steps of an experiment's trials."""

    done: int
    """By ended trials, and by running ones up to their last stored measurement."""
    left: int
    """For unfinished trials, if none stops early."""


def count_steps(store: Store, experiment: str) -> StepCounts:
    """Steps done and left; none of an experiment that is not there."""
    number = experiment_number(experiment)
    with store.read() as connection:
        return steps_of(connection, number, tallies(connection, [number])[number], None)[0]


def steps_of(connection: Connection, number: int, tally: Tally, since: datetime | None) -> tuple[StepCounts, int]:
    """Steps done and left of the experiment with this key, and those done by trials that started since a time."""
    running = tally.counts[TrialState.RUNNING]
    rows = _running(connection, number, running)
    share = running / len(rows) if rows else 0.0
    documents = documents_of(connection, {row.settings_id for row in rows})
    # a trial without a goal, on a time axis, has none left
    aimed = sum(row.last for row in rows if documents[row.settings_id]["training"].get("steps") is not None)
    own = sum(row.last for row in rows if since is None or row.started_at >= since)
    done = tally.done + round(share * sum(row.last for row in rows))
    return StepCounts(done, max(0, tally.goal - round(share * aimed))), tally.own + round(share * own)


def _running(connection: Connection, number: int, running: int) -> list[Any]:
    """Running trials with the last step that is stored of each, all of them or MOST_LOOKED_AT."""
    if not running:
        return []
    own = (measurement.c.trial_id == trial.c.id,)
    last = select(func.max(measurement.c.step)).where(*own).correlate(trial).scalar_subquery()
    query = select(trial.c.settings_id, trial.c.started_at, func.coalesce(last, 0).label("last")).where(runs)
    most = min(running, MOST_LOOKED_AT)
    found = connection.execute(query.where(trial.c.queued_for == number).order_by(trial.c.id).limit(most)).all()
    if len(found) == most:
        return list(found)
    # others run for somebody else, who wants them too
    link = experiment_trial.c
    wanted = select(link.trial_id).where(link.experiment_id == number, link.wanted == literal(True))
    return list(connection.execute(query.where(trial.c.id.in_(wanted)).order_by(trial.c.id).limit(most)).all())
