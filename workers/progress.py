"""How far a stack has come, and what follows for how long stacks like it take. Pure.

A stack may do less than its lanes were to do: it goes on from checkpoints, or lanes diverge, collapse or stop early.
What was done is told as a whole stack of as many lanes as ran on average, from the first step to the last.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from service.grid.measured_steps import measured_count, measured_steps

_TELLING_SECONDS: Final = 0.5
"""Of work, from which the rest is told; what is over sooner without having done half says nothing."""
_LISTED: Final = 2_000
"""Measured steps that are listed to find those before a checkpoint; of more, steps tell about how many."""


class Plan(NamedTuple):
    """What a stack is to do."""

    lasts: np.ndarray
    """(lanes,) the last step of each; 0 where a flow has none."""
    start: int
    """Step that it goes on from, or of a flow the row; 0: the beginning."""
    rows: int
    """Measured of a whole lane."""
    rows_left: float
    """Of these beyond the start."""
    is_flow: bool = False

    @property
    def lanes(self) -> int:
        """At its start."""
        return len(self.lasts)


class Done(NamedTuple):
    """What it has done so far."""

    elapsed: float
    """Seconds since its start."""
    training_seconds: float
    measuring_seconds: float
    lane_steps: int
    rows: int
    reached: Mapping[int, int]
    """Lanes that have ended -> step."""
    is_early: bool = False
    """Whether one of these ended before its last step."""


class Whole(NamedTuple):
    """What a stack takes that does all its lanes were to do."""

    lanes: int
    seconds: float


def plan_of(settings: Sequence[Mapping[str, Any]], checkpoint_step: int) -> Plan:
    """What lanes with these canonical settings are to do, which all begin after one step; -1: at the beginning."""
    first = settings[0]
    lasts = np.array([one["training"].get("steps", 0) for one in settings])
    rows, is_flow = measured_count(first), "steps" not in first["training"]
    # of a flow it is the number of a row
    start = checkpoint_step + 1 if is_flow else max(0, checkpoint_step)
    left = float(rows)
    if start and not is_flow:
        last = max(1, int(lasts[0]))
        many = rows > _LISTED
        left = rows * max(0.0, 1 - start / last) if many else sum(step > start for step in measured_steps(first))
    return Plan(lasts, start, rows, left, is_flow)


def left_seconds(plan: Plan, done: Done) -> float | None:
    """Until a stack ends; None where that cannot be told yet."""
    if plan.is_flow or not done.lane_steps:
        return None
    goes, gone = _going(plan, done)
    steps = max(0.0, float((plan.lasts - plan.start)[goes].sum()) - (done.lane_steps - gone))
    rows = goes.mean() * max(0.0, plan.lanes * plan.rows_left - done.rows)
    measuring = done.measuring_seconds * rows / done.rows if done.rows else 0.0
    return done.training_seconds * steps / done.lane_steps + measuring


def whole(plan: Plan, done: Done, *, is_last: bool) -> Whole | None:
    """What a stack takes that is trained from its first step to its last by this one's pace; None: it cannot be told.

    Args:
        plan: what it was to do.
        done: so far.
        is_last: it has ended.
    """
    if plan.is_flow or not plan.lasts.any():
        # nothing says how far a flow has come
        is_whole = is_last and not plan.start and not done.is_early
        return Whole(plan.lanes, done.elapsed) if is_whole else None
    if not done.lane_steps or not done.rows:
        return None
    goes, gone = _going(plan, done)
    # lanes move together
    depth = (done.lane_steps - gone) / goes.sum() if goes.any() else max(done.reached.values()) - plan.start
    planned = float(np.minimum(plan.lasts - plan.start, depth).sum())
    lanes = plan.lanes * min(1.0, done.lane_steps / planned) if planned > 0 else float(plan.lanes)
    steps, worked = plan.lasts.mean(), done.training_seconds + done.measuring_seconds
    if is_last and worked < _TELLING_SECONDS and done.lane_steps < 0.5 * plan.lanes * steps:
        return None
    training = done.training_seconds * lanes * steps / done.lane_steps
    measuring = done.measuring_seconds * lanes * plan.rows / done.rows
    return Whole(max(1, round(lanes)), done.elapsed - worked + training + measuring)


def _going(plan: Plan, done: Done) -> tuple[np.ndarray, int]:
    """(lanes,) which have not ended, and how many steps those that have ended did."""
    goes = np.ones(plan.lanes, dtype=bool)
    goes[list(done.reached)] = False
    return goes, sum(done.reached.values()) - plan.start * len(done.reached)
