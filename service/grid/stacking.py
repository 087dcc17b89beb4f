"""Which trials may be trained as one stack of tensors, and how many at a time. Pure; previews and workers share it."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from nfa_kernels import names
from service.grid import canonical, cost
from service.grid.data_shapes import DataShape, known_shape

PER_LANE: Final = frozenset(
    {
        *("learning_rate", "weight_decay", "momentum", "beta1", "beta2", "epsilon", "rho"),
        *("steps", "schedule", "schedule_steps", "schedule_factor", "layers", "decay_biases"),
        *(name for read in names.LOSS_NUMBERS.values() for name in read),
    }
)
"""Settings under `training` that lanes of one stack may differ in."""

MAX_LANES: Final = 4096
UNKNOWN_LANES: Final = 16
"""Lanes of a stack whose data sizes are not known."""
STACK_BYTES: Final = 1 << 30
CACHED_BYTES: Final = 2 << 20
"""Weights of a stack, so that a step finds them where the last one left them, also while every core does the same."""
STACK_STEP_SECONDS: Final = 0.5
"""A stack is no larger than that it answers to a cancel between two steps."""
BETWEEN_SECONDS: Final = 0.02
"""A trainer waits so long from one stack to the next, about: it is leased, sent and begun (`benchmarks/scale.py`)."""
STACKS_PER_SLOT: Final = 4
"""So many stacks for each slot keep all of them busy to the end, though one takes longer than another."""

T = TypeVar("T")
Looked = tuple[Mapping[str, Any], DataShape]
MAX_KEYS: Final = 1_000
"""Stack keys of a grid whose stacks are estimated one by one; of more every second, third, .. is."""


def stack_key(settings: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of all that trials of one stack share.

    Lanes may differ in their seed, in how data of one shape and initial weights are drawn, in the numbers of their
    update rule, loss and schedule, and in their last step; all else decides the sequence of tensor operations.

    Args:
        settings: canonical settings of a trial.
    """
    return key_of(
        shape_text(settings["data"]),
        canonical.compact(settings["network"]),
        training_of(settings["training"], settings["network"]["parameterization"]),
        canonical.compact(settings["measure"]),
    )


class Training(NamedTuple):
    """What trials of one stack share of their training."""

    text: str
    """Their settings, as they are hashed."""
    own: tuple[str, ...]
    """How parameters are kept and moved: of "own_rates", "wide_weights", in this order."""


def key_of(shape: str, network: str, training: Training, measure: str) -> str:
    """The stack key of what `shape_text`, `canonical.compact`, `training_of` have written."""
    rates, wide = (f',"{name}":true' if name in training.own else "" for name in ("own_rates", "wide_weights"))
    start = f'{{"measure":{measure},"network":{network}{rates},"shape":{shape}'
    return canonical.sha256_of(f'{start},"training":{training.text}{wide}}}')


def shape_text(data: Mapping[str, Any]) -> str:
    """What trials of one stack share of their data: the sizes; of uploaded data all but the seed."""
    if data["kind"] == "uploaded":
        return canonical.compact({name: value for name, value in data.items() if name != "seed"})
    shape = known_shape(data)
    return canonical.compact([getattr(shape, one.name) for one in dataclasses.fields(shape)])


def training_of(training: Mapping[str, Any], parameterization: str) -> Training:
    """What trials of one stack share of their training."""
    return Training(canonical.compact(shared_training(training)), own_names(training, parameterization))


def shared_training(training: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `training` that trials of one stack share."""
    return {name: value for name, value in training.items() if name not in PER_LANE}


def own_names(training: Mapping[str, Any], parameterization: str) -> tuple[str, ...]:
    """What follows from settings that lanes may differ in: how their parameters are kept and moved."""
    # moved by other operations than a network whose parameters share their numbers
    own = ("own_rates",) if names.has_own_rates(training) else ()
    return (*own, "wide_weights") if names.has_wide_weights(training, parameterization) else own


def lanes_per_stack(
    waiting: int,
    slots: int,
    settings: Mapping[str, Any] | None = None,
    shape: DataShape | None = None,
    memory_bytes: int | None = None,
    *,
    keys: int = 1,
    idle: int | None = None,
) -> int:
    """How many of the waiting trials of one stack key to train together, so that every slot gets an equal share.

    Where a share is more than a stack holds, stacks are made equal too, as many for each slot: one that is left over
    would be trained while the other slots have nothing to do. Where many stack keys wait, slots share these, and the
    trials of one key stay together. So do few small networks, which take hardly longer than one, unless a slot would
    have nothing to do.

    Args:
        waiting: trials that wait with this stack key, >= 1.
        slots: trainers that can run at once, >= 1.
        settings: canonical settings of one of them, which bound the stack's memory and the time of its step.
        shape: sizes of the data, needed for uploaded data alone; without it such stacks stay small.
        memory_bytes: of the GPU that trains them; None on a CPU.
        keys: stack keys that wait, this one among them.
        idle: slots that have nothing to do, >= 1; None: all.
    """
    needed = -(-(idle or slots) // keys)
    slots = max(1, min(slots, -(-STACKS_PER_SLOT * slots // keys)))
    if settings is not None and memory_bytes is None:
        slots = min(slots, max(needed, waiting // (2 * _lanes_to_double(settings, shape))))
    most = MAX_LANES if settings is None else max_lanes(settings, shape, memory_bytes)
    stacks_of_a_slot = -(-waiting // (slots * most))
    return -(-waiting // (slots * stacks_of_a_slot))


def enough_waiting(
    slots: int,
    settings: Mapping[str, Any] | None = None,
    shape: DataShape | None = None,
    memory_bytes: int | None = None,
) -> int:
    """How many waiting trials make all the difference to `lanes_per_stack`, whose arguments these are.

    Where more wait, stacks are as large as they may be, or at least four fifths of that where few slots share a key.
    """
    most = MAX_LANES if settings is None else max_lanes(settings, shape, memory_bytes)
    return STACKS_PER_SLOT * slots * most


def _lanes_to_double(settings: Mapping[str, Any], shape: DataShape | None) -> int:
    """How many lanes take, beyond what a stack takes whatever its lanes, as long again on a CPU."""
    shape = shape or cost.shape_of(settings)
    if shape is None:
        return 1
    none, one = (cost.stack_seconds(settings, shape, lanes) for lanes in (0, 1))
    return max(1, round((none + BETWEEN_SECONDS) / (one - none)))


def max_lanes(settings: Mapping[str, Any], shape: DataShape | None = None, memory_bytes: int | None = None) -> int:
    """The most lanes that a stack of such trials may have.

    A GPU is filled as far as half of its memory allows, the rest being what libraries work with and what lies between
    arrays: the more lanes, the nearer to its arithmetic. A CPU is bound by its cache, and by answering to a cancel
    between two steps.
    """
    shape = shape or cost.shape_of(settings)
    if shape is None:
        return UNKNOWN_LANES
    if memory_bytes is not None:
        return max(1, min(MAX_LANES, cost.device_memory(settings, shape).lanes_within(memory_bytes // 2)))
    step = cost.step_seconds(settings, shape, 1)
    fitting = min(
        cost.lanes_within(settings, shape, STACK_BYTES),
        CACHED_BYTES // cost.weight_bytes(settings, shape),
        int(STACK_STEP_SECONDS / step),
    )
    return max(1, min(MAX_LANES, fitting))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What trials that have to run will cost."""

    stacks: int
    seconds: float


def estimate(new: Iterable[tuple[T, str, int, int | None]], slots: int, look: Callable[[T], Looked]) -> Estimate:
    """Stacks and seconds of trials that have to run.

    Args:
        new: (grid point, its stack key, number of new seeds, steps) of each grid point; gradient flow has no steps.
        slots: trainers that run at once, >= 1.
        look: the canonical settings of a point, and the sizes of its data; asked of some of the points alone.
    """
    waiting: dict[str, int] = {}
    updates: dict[str, int] = {}
    longest_lane: dict[str, tuple[int, T]] = {}
    for point, key, count, steps in new:
        if count:
            own = cost.updates_of(steps)
            waiting[key] = waiting.get(key, 0) + count
            updates[key] = updates.get(key, 0) + count * own
            # a stack takes as long as its longest lane
            if key not in longest_lane or own > longest_lane[key][0]:
                longest_lane[key] = own, point
    # of many keys some tell about all
    every = -(-len(waiting) // MAX_KEYS) if waiting else 1
    stacks, seconds, longest, seen = 0, 0.0, 0.0, 0
    for key, count in itertools.islice(waiting.items(), 0, None, every):
        settings, shape = look(longest_lane[key][1])
        lanes = lanes_per_stack(count, slots, settings, shape, keys=len(waiting))
        needed = -(-count // lanes)
        one = cost.stack_seconds(settings, shape, lanes, lanes * updates[key] / count)
        stacks, seconds, longest, seen = stacks + needed, seconds + needed * one, max(longest, one), seen + 1
    if every > 1:
        stacks, seconds = round(stacks * len(waiting) / seen), seconds * len(waiting) / seen
    return Estimate(stacks, max(seconds / max(slots, 1), longest))
