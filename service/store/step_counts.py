"""Optimiser steps that an experiment's trials have done and have yet to do, for progress and speed."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, case, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from service.states import ENDED, TrialState
from service.store.experiments import require
from service.store.models import experiment_trial, measurement, settings, trial
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
            select(done.label("done"), case((is_over, 0), else_=_goal(connection) - done).label("left"))
            .select_from(experiment_trial.join(trial, trial.c.id == experiment_trial.c.trial_id))
            .join(settings, settings.c.id == trial.c.settings_id)
            .where(experiment_trial.c.experiment_id == number)
            .subquery()
        )
        total = select(func.coalesce(func.sum(each.c.done), 0), func.coalesce(func.sum(each.c.left), 0))
        row = connection.execute(total).one()
    return StepCounts(int(row[0]), int(row[1]))


def _goal(connection: Connection) -> Any:
    """A trial's `training.steps`; a trial without one, on a time axis, counts none."""
    if connection.dialect.name == "postgresql":
        text = cast(settings.c.document, JSONB)["training"]["steps"].astext
        return func.coalesce(cast(text, BigInteger), 0)
    return func.coalesce(func.json_extract(settings.c.document, "$.training.steps"), 0)
