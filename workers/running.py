"""Stacks on a trainer, as its dispatcher sees them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from service.store import ids
from service.store.attempts import Place
from service.store.leases import NOWHERE, Leased
from service.store.remeasurement_leases import LeasedWeights
from workers import progress
from workers.blocks import LAST_STEP, Block, Lane, Told

_NAMED = 64
"""Trials that a log line names."""


@dataclass
class Running:
    """The trials of a stack by lane, which lanes are still ours, and what has been done."""

    trials: tuple[Leased, ...]
    place: Place = NOWHERE
    device: str = "cpu"
    """Of its trainer."""
    started: float = field(default_factory=time.monotonic)
    is_first: bool = True
    open: set[int] = field(default_factory=set)
    lane_steps: int = 0
    is_compiled: bool = False
    """Whether compiled code makes its steps."""
    is_captured: bool = False
    """Whether a captured graph has made steps of it."""
    training_seconds: float = 0.0
    measuring_seconds: float = 0.0
    rows: int = 0
    """Measured of its networks so far."""
    until: float = 0.0
    """When, by the monotonic clock, it should end."""
    is_thinned: bool = False
    """Lanes of it were dropped on the way."""
    ends: dict[int, str] = field(default_factory=dict)
    """The state in which lanes ended, by lane."""
    reached: dict[int, int] = field(default_factory=dict)
    """The step at which lanes ended, by lane."""
    is_early: bool = False
    """A lane ended before its last step."""
    begun_after: int = field(init=False)
    """The step after which its lanes began; -1: at the beginning. Checkpoints on the way change nothing about that."""
    is_given_up: bool = False
    """A block of it could not be written, and nothing after that will be."""

    def __post_init__(self) -> None:
        self.open = set(range(len(self.trials)))
        self.begun_after = self.trials[0].checkpoint_step if self.trials else -1

    @property
    def still(self) -> list[Leased]:
        """Trials of the open lanes."""
        return [self.trials[lane] for lane in sorted(self.open)]

    @property
    def held(self) -> list[tuple[int, int]]:
        """(trial id, attempt) of the open lanes."""
        return [trial.held for trial in self.still]

    def lanes_of(self, pairs: frozenset[tuple[int, int]]) -> frozenset[int]:
        """The open lanes of these attempts (trial id, attempt)."""
        return frozenset(lane for lane in self.open if self.trials[lane].held in pairs)

    def drop(self, lanes: frozenset[int]) -> None:
        """Lanes are ours no longer."""
        self.open -= lanes
        self.is_thinned = self.is_thinned or bool(lanes)

    def counted(self, block: Block) -> None:
        """Add what a block says was done."""
        self.rows += block.network.num_rows
        self.lane_steps += block.lane_steps
        self.is_compiled, self.is_captured = block.is_compiled, block.is_captured
        self.training_seconds += block.training_seconds
        self.measuring_seconds += block.measuring_seconds
        self.reached |= {end.lane: end.step for end in block.ended}
        self.is_early = self.is_early or any(end.reason != LAST_STEP for end in block.ended)

    def sent(self, block: Block) -> None:
        """Note that a block is on its way into the store; lanes that end with it are running no longer."""
        self.is_first = False
        self.ends |= {end.lane: end.state for end in block.ended if end.lane in self.open}
        self.open -= {end.lane for end in block.ended}

    def committed(self, block: Block) -> None:
        """Note that a block is in the store: from which step on the lanes would go on."""
        steps = {lane: step for lane, step, _ in block.checkpoints}
        if steps:
            self.trials = tuple(
                trial._replace(checkpoint_step=steps.get(lane, trial.checkpoint_step))
                for lane, trial in enumerate(self.trials)
            )

    def left_seconds(self) -> float | None:
        """Until it should end; None where that cannot be told."""
        return None if self.is_thinned else progress.left_seconds(self.plan, self.done)

    def whole(self, *, is_last: bool) -> progress.Whole | None:
        """What stacks like it take that do all they were to do, by what it has done; None where that cannot be told.

        Args:
            is_last: what was counted last is the end.
        """
        return None if self.is_thinned else progress.whole(self.plan, self.done, is_last=is_last)

    @cached_property
    def plan(self) -> progress.Plan:
        """What it was given to do."""
        return progress.plan_of([one.settings for one in self.trials], self.begun_after)

    @property
    def done(self) -> progress.Done:
        """What it has done so far."""
        elapsed = time.monotonic() - self.started
        work = self.training_seconds, self.measuring_seconds, self.lane_steps, self.rows
        return progress.Done(elapsed, *work, self.reached, self.is_early)

    def spent(self) -> dict[str, Any]:
        """Seconds and steps, for logs and provenance."""
        seconds = time.monotonic() - self.started
        return {
            "seconds": round(seconds, 3),
            "training_seconds": round(self.training_seconds, 3),
            "measuring_seconds": round(self.measuring_seconds, 3),
            "steps_per_second": round(self.lane_steps / seconds, 1) if seconds else None,
        }


@dataclass
class Given:
    """Stacks that a trainer was given together, and trains one after the other."""

    stacks: tuple[Running, ...]
    ended: int = 0
    """So many of them are over."""

    @property
    def left(self) -> list[tuple[int, Running]]:
        """Those that are not, with their places; the first is the one that it trains."""
        return [*enumerate(self.stacks)][self.ended :]

    @property
    def until(self) -> float:
        """When, by the monotonic clock, all of them should be over."""
        return max((running.until for _, running in self.left), default=0.0)

    def heard(self, told: Told) -> Running:
        """The stack that something was told of."""
        running = self.stacks[told.place]
        if running.is_first and len(self.stacks) > 1:
            # it may have waited for others
            running.started = time.monotonic() - told.seconds
        if told.is_end:
            self.ended = told.place + 1
        return running


def named(trials: Sequence[Leased] | Sequence[LeasedWeights]) -> dict[str, Any]:
    """What a log line says of trials of one stack: a few by name, for searching, and how many there are."""
    return {
        "experiment": sorted({ids.experiment_id(trial.queued_for) for trial in trials}),
        "trial": [ids.trial_id(trial.trial_id) for trial in trials[:_NAMED]],
        "attempt": sorted({trial.attempt for trial in trials}),
        "trials": len(trials),
        "stack": trials[0].stack_key[:12] if trials else None,
    }


def lane_of(trial: Leased, saved: Mapping[int, bytes]) -> Lane:
    """A trial as its trainer gets it, with its checkpoint if it has one."""
    return Lane(trial.settings, trial.seed, saved.get(trial.trial_id), trial.keeps)
