"""Optimiser steps that an experiment's trials have done and have yet to do, for progress and speed."""

from dataclasses import dataclass

from sqlalchemy import case, func, literal, select

from service.states import ENDED, TrialState
from service.store.experiments import require
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
    """Steps done and left. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, experiment)
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
        each = (
            select(trial.c.settings_id, done.label("done"), case((is_over, 0), else_=1).label("open"))
            .join(experiment_trial, trial.c.id == experiment_trial.c.trial_id)
            .where(experiment_trial.c.experiment_id == number)
            .subquery()
        )
        rows = connection.execute(
            select(
                each.c.settings_id, func.sum(each.c.done), func.sum(each.c.open), func.sum(each.c.open * each.c.done)
            ).group_by(each.c.settings_id)
        ).all()
        known = settings_of(connection, number)
        # a trial without a goal, on a time axis, has none left
        goals = dict(zip(known.keys, known.column(connection, "training.steps"), strict=True))
    left = sum(opened * goals[key] - done_by_open for key, _, opened, done_by_open in rows if goals[key] is not None)
    return StepCounts(int(sum(row[1] for row in rows)), int(left))
