"""What goes into a trainer and what comes out: a stack of lanes, and Arrow blocks of measurements."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Lane:
    """One trial in a stack: its canonical settings and its seed."""

    settings: Mapping[str, Any]
    seed: int
    checkpoint: bytes | None = None
    """Where to go on; lanes of a stack all have one, of the same step, or none has."""
    keeps: bool = False
    """Whether its state at its last step is wanted, for a longer trial to go on from."""
    kept: tuple[tuple[int, bytes], ...] = ()
    """(step, file) of weights to measure again."""
    unmeasured: frozenset[int] = frozenset()
    """Of these steps those at which nothing was measured so far."""


@dataclass(frozen=True)
class Again:
    """What to measure of weights that were kept."""

    metrics: tuple[str, ...]
    layers: tuple[int, ...]
    exponents: tuple[float, ...] = ()
    inputs: tuple[str, ...] = ("train",)
    """Ids of those over which the AGOP is averaged."""


@dataclass(frozen=True)
class Stack:
    """Trials of one shape, trained together; `arrays` holds uploaded datasets by id."""

    lanes: tuple[Lane, ...]
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    again: Again | None = None
    """What to measure of the lanes' kept weights, without training."""


LAST_STEP, LOSS_BELOW, COLLAPSED, EXPLODED, STUCK = "last_step", "loss_below", "collapsed", "exploded", "stuck"
STOP_WHEN, PLATEAU = "stop_when", "plateau"
"""Why a lane ended: all its steps are done; its loss fell below `stop.loss_below`; it decayed to zero until its
arithmetic underflowed; its loss exploded or is no number; gradient flow cannot move it; `stop.when` matched; the metric
of `stop.plateau` stayed as it was."""


class LaneEnd(NamedTuple):
    """How a lane ended: completed, diverged or failed, at which step, and why if it failed."""

    lane: int
    state: str
    step: int
    error: str | None = None
    reason: str = LAST_STEP
    """What ended it, in one of the words above; provenance says it under `ended`."""


@dataclass(frozen=True)
class Block:
    """Measurements since the last block; nothing of it counts until the dispatcher has committed it."""

    network: pa.RecordBatch
    """lane, step, time and one column per measured network metric; NaN is undefined."""
    layers: pa.RecordBatch
    """lane, step, layer and one column per measured layer metric."""
    parametrised: pa.RecordBatch
    """lane, step, layer, name, value."""
    ended: tuple[LaneEnd, ...]
    """Lanes whose last row is in this block."""
    lane_steps: int
    """Optimiser steps done since the last block, summed over lanes."""
    training_seconds: float
    """Wall time spent on steps since the last block."""
    measuring_seconds: float
    """Wall time spent on measuring since the last block."""
    last: bool
    """The explicit end marker: without it a stream that stops was cut off."""
    weights: tuple[tuple[int, int, bytes], ...] = ()
    """(lane, step, .safetensors file) of weights to keep."""
    checkpoints: tuple[tuple[int, int, bytes], ...] = ()
    """(lane, step, file): where the lanes are once the rows up to here are committed."""
    states: tuple[tuple[int, int, bytes], ...] = ()
    """(lane, step, file) as of checkpoints: where lanes of this block that keep their state ended."""
    is_compiled: bool = False
    """Whether compiled code made the steps, and not the tensor library."""
    is_captured: bool = False
    """Whether a captured graph has made steps of this stack, on a CUDA device."""


@dataclass(frozen=True)
class Broken:
    """Sent instead of a last block when training raised: what it was, and what trying again can help."""

    error: str
    is_final: bool = False
    """It would happen again."""
    is_checkpoint: bool = False
    """It would not happen from the beginning."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """Lane -> error, of lanes that fail by themselves before their first step."""


class Told(NamedTuple):
    """What a trainer sends of one of the stacks that it was given together."""

    place: int
    """Of the stack among these."""
    seconds: float
    """Since the trainer began with that stack."""
    what: Block | Broken

    @property
    def is_end(self) -> bool:
        """Whether nothing follows of that stack."""
        return isinstance(self.what, Broken) or self.what.last
