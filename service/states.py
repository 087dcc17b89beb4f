"""Trial states, the only legal moves between them, and the state of an experiment that follows from them."""

from collections.abc import Mapping
from enum import StrEnum


class TrialState(StrEnum):
    """Where a trial stands. Divergence is a result, not a failure."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    DIVERGED = "diverged"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ExperimentState(StrEnum):
    """Derived from the trials an experiment links, plus `paused`."""

    PAUSED = "paused"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({TrialState.COMPLETED, TrialState.DIVERGED, TrialState.FAILED, TrialState.CANCELLED})
RESULTS = frozenset({TrialState.COMPLETED, TrialState.DIVERGED, TrialState.FAILED})
"""Ends that a dispatcher reports."""

MOVES: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.QUEUED: frozenset({TrialState.RUNNING, TrialState.CANCELLED}),
    # back to queued: its lease ran out, or the dispatcher handed it back
    TrialState.RUNNING: ENDED | {TrialState.QUEUED},
    # retry, or wanted again by a new experiment
    TrialState.CANCELLED: frozenset({TrialState.QUEUED}),
    TrialState.FAILED: frozenset({TrialState.QUEUED}),
    TrialState.DIVERGED: frozenset({TrialState.QUEUED}),
    TrialState.COMPLETED: frozenset(),
}


def may_move(source: TrialState, target: TrialState) -> bool:
    """Whether a trial may go from one state to the other."""
    return target in MOVES[source]


def experiment_state(counts: Mapping[TrialState, int], paused: bool, *, searching: bool = False) -> ExperimentState:
    """State of an experiment by its linked trials; one that searches goes on when they have ended."""
    total = sum(counts.values())
    ended = sum(counts.get(state, 0) for state in ENDED)
    if paused:
        return ExperimentState.PAUSED
    if ended == total and not searching:
        if counts.get(TrialState.FAILED, 0):
            return ExperimentState.FAILED
        if total and counts.get(TrialState.CANCELLED, 0) == total:
            return ExperimentState.CANCELLED
        return ExperimentState.COMPLETED
    if counts.get(TrialState.RUNNING, 0) or ended:
        return ExperimentState.RUNNING
    return ExperimentState.QUEUED
