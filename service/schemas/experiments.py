"""Answers about experiments, and the events of one."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.schemas.bodies import Body
from service.states import ExperimentState, TrialState


class TrialCounts(Body):
    """How many trials a grid has."""

    total: int = Field(description="Points times seeds.")
    new: int = Field(description="Trials that nobody had submitted before: the work this causes.")
    reused: int = Field(description="Trials that exist already and are shared; nothing is computed twice.")


class Submitted(Body):
    """A stored experiment."""

    id: str
    name: str
    state: ExperimentState
    trials: TrialCounts


class Extended(Submitted):
    """A widened experiment."""

    continued: int = Field(0, description="New trials that go on from where a shorter one ends.")
    from_zero: dict[str, int] = Field(
        {}, description="New trials that are longer than others and begin at the beginning: why -> how many."
    )


class PreviewedLayer(Body):
    """A layer that can be measured."""

    number: int
    name: str
    outputs: int = Field(description="Rows of its matrix W.")
    inputs: int = Field(description="Columns of W.")
    positions: int = Field(description="At how many places of a sample W is applied: tokens, or places on an image.")
    role: str | None = Field(None, description="Under mup: input, hidden, output or direct, by which widths grow.")


class PreviewedNetwork(Body):
    """The graph of layers that a network stands for."""

    kind: str
    settings: dict[str, Any] = Field(description="In canonical form.")
    layers: list[Any] = Field(description="As the kind graph takes them.")
    measured: list[PreviewedLayer]
    parameters: int


class PreviewedSearch(Body):
    """How far a grid that asks for something to be found may grow."""

    rounds: int | None = Field(description="Rounds that may follow the first; null where only seeds are added.")
    at_most: int = Field(description="Trials that there may be in the end.")


class PreviewedGroup(Body):
    """Paths that take their values together: a group of zip."""

    paths: list[str]
    values: int = Field(description="How many times they change.")


class Preview(Body):
    """What a grid would cost; nothing is stored."""

    trials: int = Field(description="Points times seeds; of a grid that searches, its first round.")
    new: int
    reused: int
    stacks: int = Field(description="Sets of trials trained together, on the trainers there are now.")
    estimated_seconds: float = Field(description="From counted operations and a nominal speed; rough.")
    continued: int = Field(
        0,
        description="New trials that go on from where a shorter one ends (training.keep); the seconds are those from "
        "the beginning.",
    )
    from_zero: dict[str, int] = Field(
        {}, description="New trials that are longer than others and begin at the beginning: why -> how many."
    )
    axes: dict[str, list[Any]] = Field(description="Varying path -> its values.")
    together: list[PreviewedGroup] = Field([], description="Of these axes, those that change together.")
    derived: dict[str, list[Any]] = Field(
        {}, description="Settings on no axis that follow from others by a formula -> the values they come to."
    )
    ignored: list[str] = Field(description="Settings given that no trial reads, and exclusions that match nothing.")
    search: PreviewedSearch | None = Field(None, description="Of a grid with refine or seeds: {until: ..}.")
    networks: list[PreviewedNetwork] = Field(
        [], description="The different networks that are not fully connected, at most twenty."
    )


class ExperimentBody(Body):
    """An experiment as it stands."""

    id: str
    name: str
    owner: str
    state: ExperimentState = Field(description="Derived from its trials, plus `paused`.")
    tags: list[str]
    notes: str
    priority: int
    starred: bool = Field(False, description="Marked by somebody as worth coming back to.")
    axes: list[str] = Field(description="Paths that vary.")
    created_at: datetime
    counts: dict[TrialState, int] = Field(description="Its trials by state.")
    progress: float = Field(description="Share of its steps that are done, 0 to 1; 1 when every trial has ended.")
    eta_seconds: float | None = Field(description="Until it ends, at its rate so far; null before it has one.")


class ViewBody(Body):
    """What of an experiment's page was saved under a name."""

    id: int
    name: str
    parameters: dict[str, str] = Field(description="Of the page's address.")
    created_at: datetime


class NotificationBody(Body):
    """A message to an address that the grid's `notify` names."""

    id: str = Field(description="The same at every attempt, so that a receiver knows what it has.")
    event: str = Field(description="end, failed or verdict.")
    url: str
    created_at: datetime
    attempts: int
    next_at: datetime | None = Field(description="When it is sent (again); null: delivered or given up.")
    delivered_at: datetime | None
    error: str | None = Field(description="Why the last attempt was not taken.")


class Notifications(Body):
    """The last hundred messages about an experiment, the newest first."""

    items: list[NotificationBody]


class Thinned(Body):
    """What thinning did."""

    thinned: int = Field(description="Trials that now have every n-th measured step, the first and the last.")
    unfinished: int = Field(description="Trials left as they are, since they have not ended.")
    shared: int = Field(description="Trials left as they are, since other experiments hold them too.")
    unfit: int = Field(description="Trials left as they are: thinned before, to a number of which n is no multiple.")
    rows: int = Field(description="Rows deleted.")


class LeftOutTrials(Body):
    """Trials that are not measured again, for one reason."""

    count: int
    trials: list[str] = Field(description="Which; at most a thousand.")


class RemeasurementBody(Body):
    """A request to measure kept weights again, and how far it is."""

    id: str | None = Field(description="null where there was nothing to measure: nothing is stored then.")
    experiment: str
    metrics: list[str] = Field(description="Ids under which the numbers are stored.")
    layers: Any = Field(description="As asked; null: those that each trial measures.")
    at: Any = Field(description="As asked: all, final, or steps.")
    inputs: list[str] = Field(description="Over which the AGOP is averaged: train, and the ids of others.")
    definitions: dict[str, int] = Field(description="Metric -> version of the definition that its numbers have.")
    trials: int = Field(description="Whose kept weights are measured.")
    counts: dict[str, int] = Field(description="Of these by state: queued, running, completed, failed, cancelled.")
    left_out: dict[str, LeftOutTrials] = Field(
        description="Other trials of the experiment: without_weights (they keep none of these steps), without_layers, "
        "without_inputs (as a test set), unfinished (not completed or diverged), already (measured, or about to be, "
        "for another request)."
    )
    replaced: list[str] = Field(
        description="Metrics whose numbers by an older definition gave way; any other number that is there stays."
    )
    errors: list[str] = Field(description="Of trials that failed or were trained again meanwhile; at most twenty.")
    created_at: datetime | None


class Remeasurements(Body):
    """The requests of an experiment, the oldest first."""

    items: list[RemeasurementBody]


class StepCountsBody(Body):
    """Optimiser steps of an experiment's trials."""

    done: int = Field(description="By ended trials, and by running ones up to their last stored measurement.")
    left: int = Field(description="For unfinished trials, if none stops early.")


class ExperimentDetail(ExperimentBody):
    """An experiment with the grid it came from."""

    grid: dict[str, Any] = Field(description="As it was submitted; empty where it was not asked for.")
    steps: StepCountsBody


class StateEvent(Body):
    """Data of `event: state`: the experiment's state changed."""

    state: ExperimentState
    before: ExperimentState | None = Field(description="null where the caller knew none.")


class ProgressEvent(Body):
    """Data of `event: progress`, whose id names this snapshot: give the last one as Last-Event-ID to go on."""

    state: ExperimentState
    counts: dict[TrialState, int]
    progress: float
    eta_seconds: float | None


class EndEvent(Body):
    """Data of `event: end`: every trial has ended; the stream ends too."""

    state: ExperimentState


class DeletedEvent(Body):
    """Data of `event: deleted`: the experiment is gone; the stream ends too."""

    id: str
