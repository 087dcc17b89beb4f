"""Optimiser steps that an experiment's trials have done and have yet to do, for progress and speed."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, func, literal, select

from service.states import ENDED, TrialState
from service.store.ids import experiment_number
from service.store.known_settings import settings_of
from service.store.models import experiment_trial, measurement, trial
from service.store.session import Store


@dataclass(frozen=True)
class StepCounts:
    """Steps of an experiment's trials."""

    done: int
    """By ended trials, and by running ones up to their last stored measurement."""
    left: int
    """For unfinished trials, if none stops early."""


def count_steps(store: Store, experiment: str) -> StepCounts:
    """Steps done and left; none of an experiment that is not there."""
    with store.read() as connection:
        return steps_of(connection, experiment_number(experiment), None)[0]


def steps_of(connection: Connection, number: int, since: datetime | None) -> tuple[StepCounts, int]:
    """Steps done and left of the experiment with this key, and those done by trials that started since a time."""
    last = (
        select(func.max(measurement.c.step))
        .where(measurement.c.trial_id == trial.c.id)
        .correlate(trial)
        .scalar_subquery()
    )
    done = func.coalesce(
        case((trial.c.state.in_(ENDED), trial.c.last_step), (trial.c.state == TrialState.RUNNING, last), else_=0), 0
    )
    is_over = trial.c.state.in_(ENDED) | (experiment_trial.c.wanted == literal(False))
    is_counted = literal(True) if since is None else trial.c.started_at >= since
    each = (
        select(
            trial.c.settings_id,
            done.label("done"),
            case((is_counted, 1), else_=0).label("counted"),
            case((is_over, 0), else_=1).label("open"),
        )
        .join(experiment_trial, trial.c.id == experiment_trial.c.trial_id)
        .where(experiment_trial.c.experiment_id == number)
        .subquery()
    )
    sums = (each.c.done, each.c.open, each.c.open * each.c.done, each.c.counted * each.c.done)
    query = select(each.c.settings_id, *(func.sum(one) for one in sums)).group_by(each.c.settings_id)
    rows = connection.execute(query).all()
    known = settings_of(connection, number)
    # a trial without a goal, on a time axis, has none left
    goals = dict(zip(known.keys, known.column(connection, "training.steps"), strict=True))
    left = sum(row[2] * goals[row[0]] - row[3] for row in rows if goals[row[0]] is not None)
    return StepCounts(int(sum(row[1] for row in rows)), int(left)), int(sum(row[4] for row in rows))
