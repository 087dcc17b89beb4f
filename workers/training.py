"""Trains a stack and yields blocks of measurements; knows neither Ray nor SQL.

Numbers do not depend on what a trial is stacked with: each lane has its own random streams, hyper-parameters and
data, and divergence and collapse are looked for at fixed steps (measured ones and multiples of 64).
"""

import math
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from nfa_kernels.collapse import has_collapsed
from nfa_kernels.losses import loss_of, loss_targets
from nfa_kernels.metrics import Measured, Request, needs_initial
from workers.blocks import COLLAPSED, EXPLODED, LAST_STEP, STUCK, Block, LaneEnd, Stack
from workers.checkpoints import MOST_BYTES, MOST_KEPT_BYTES, CheckpointError, pack, pack_in_parts, size, unpack
from workers.kept_weights import KeptWeights, kept_weights
from workers.motion import CHECK_STEPS, motion
from workers.network_data import Point, TrainingSet
from workers.other_inputs import OtherInputs, with_others
from workers.preparing import flushed_denormals, initial_weights, prepared
from workers.rows import Rows
from workers.stopping import Stopping

EXPLODES_TIMES = 1e6
"""A loss this many times above both the initial loss and the zero function's has diverged."""
CHECK_ROWS = 128
"""Samples that divergence is looked for on between measured points: all of them may cost more than the steps."""
_LISTEN_SECONDS = 0.05

Stopped = Callable[[], frozenset[int]]


def train(
    stack: Stack,
    device: str = "cpu",
    *,
    block_seconds: float = 1.0,
    checkpoint_seconds: float = math.inf,
    stopped: Stopped = frozenset,
) -> Iterator[Block]:
    """Train every lane of a stack to its end, from the beginning or from the lanes' checkpoints.

    Args:
        stack: lanes that share what `service.grid.stacking.stack_key` hashes.
        device: a torch device.
        block_seconds: about how often a block is yielded, also when nothing was measured.
        checkpoint_seconds: about how often a block says where the lanes are.
        stopped: asked about every 50 ms for the lanes to drop; they end without a further row.
    Yields:
        Blocks; the last one, and no other, has `last` set.
    Raises:
        ValueError: settings that the kernels refuse.
        CheckpointError: the lanes cannot go on from their checkpoints.
    """
    with torch.inference_mode():
        yield from _Run(stack, torch.device(device), block_seconds, checkpoint_seconds, stopped).blocks()


def prepare_alone(stack: Stack, device: str) -> None:
    """Do what comes before a stack's first step, and no more; raises what `train` would."""
    with torch.inference_mode():
        _Run(stack, torch.device(device))


class _Run:
    """The whole state of a running stack. `lanes` are the numbers, in the stack, of those still running."""

    def __init__(
        self,
        stack: Stack,
        device: torch.device,
        block_seconds: float = 1.0,
        checkpoint_seconds: float = math.inf,
        stopped: Stopped = frozenset,
    ) -> None:
        self.settings = settings = stack.lanes[0].settings
        training = settings["training"]
        self.lanes = list(range(len(stack.lanes)))
        self.block_seconds, self.checkpoint_seconds, self.stopped = block_seconds, checkpoint_seconds, stopped
        dtype = getattr(torch, training["dtype"])
        ready = prepared(stack, device, settings["measure"]["metrics"])
        self.network, x, y, numbers, self.data = ready[:5]
        asked = settings["measure"].get("inputs", ())
        self.others = OtherInputs(stack, asked, self.network, self.data, ready.form, ready.x_test)
        weights = initial_weights(stack, self.network, device)
        self.loss_name, self.loss = training["loss"], loss_of(training["loss"])
        measured, trainings = settings["measure"], [lane.settings["training"] for lane in stack.lanes]
        seeds = [lane.seed for lane in stack.lanes]
        y = loss_targets(self.loss_name, y, numbers)
        samples = self.network.training_data(TrainingSet(x, y, training, seeds, dtype))
        self.motion = motion(weights, samples, settings, trainings)
        self.weight_decay = self.network.weight_decays(samples.owners, trainings, device)
        self.request = Request(
            tuple(measured["metrics"]), tuple(measured["layers"]), tuple(measured.get("exponents", ()))
        )
        initial_needed = needs_initial(self.request.metrics)
        self.initial = tuple(w.clone() for w in self.motion.weights) if initial_needed else None
        self.rows = Rows(self.request)
        loss = self.loss.value(self._outputs(self.data.x), self.data.y)
        # an initial loss that is no number says nothing about what follows
        self.explodes_at = EXPLODES_TIMES * torch.maximum(loss.nan_to_num(0.0, 0.0), self.data.zero_loss)
        self.checked_x, self.checked_y = self._checked(x.to(dtype), y)
        self.dtype, self.size_at_first = dtype, self.network.log_size(self.motion.weights)
        self.first, self.saved, self.heaviness = 0, time.monotonic(), 1.0
        self.keeps = frozenset(number for number, lane in enumerate(stack.lanes) if lane.keeps)
        self.stopping = Stopping(stack.lanes, self.network.layer_names)
        files = [lane.checkpoint for lane in stack.lanes if lane.checkpoint is not None]
        if files:
            self._go_on([*files])
        self._reset()

    def _go_on(self, files: list[bytes]) -> None:
        """Continue where the lanes' checkpoints are; what follows from the initial weights has just been computed."""
        if len(files) < len(self.lanes):
            raise CheckpointError(
                f"checkpoints: received {len(files)} for {len(self.lanes)} lanes, allowed are all or none"
            )
        try:
            # on the CPU, where generators and batches stay; what is elsewhere is moved there as it is taken
            state = unpack(files)
            self.stopping.restore(state)
            self.first = self.motion.restore(state)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, struct.error) as error:
            raise CheckpointError(f"a checkpoint cannot be read: {error!r}") from error

    def _reset(self) -> None:
        self.ended: list[LaneEnd] = []
        self.kept: list[KeptWeights] = []
        self.states: tuple[tuple[int, int, bytes], ...] = ()
        self.lane_steps, self.training_seconds, self.measuring_seconds = 0, 0.0, 0.0
        self.yielded = self.listened = time.monotonic()

    def blocks(self) -> Iterator[Block]:
        """Alternate between moving and measuring until no lane is left, at the last point at the latest."""
        for number in range(self.first, self.motion.points):
            while self.lanes and not self.motion.reached(number):
                if number and time.monotonic() - self.saved > self.checkpoint_seconds * self.heaviness:
                    # here every row up to the checkpoint is measured, and none beyond
                    for part in self._checkpoints(number):
                        yield self._block(last=False, checkpoints=part)
                self._advance(number)
                if self.motion.at_check:
                    # measuring says as much; where weights are kept alone nothing changes
                    self._end_unhealthy(but=self.motion.measured(number) if self.motion.reached(number) else [])
                if time.monotonic() - self.yielded > self.block_seconds:
                    yield self._block(last=False)
            self._end_stuck()
            if not self.lanes:
                break
            for places in self._parts(self.motion.kept(number)):
                index = self._index(places)
                params = tuple(array[index] for array in self.motion.weights)
                lanes = [self.lanes[place] for place in places]
                self.kept += kept_weights(lanes, self.motion.step, self.network.named(params))
                if sum(len(one.content) for one in self.kept) >= MOST_BYTES:
                    yield self._block(last=False)
            if places := self.motion.measured(number):
                self._measure(places, number)
        yield self._block(last=True)

    def _advance(self, number: int) -> None:
        """Move towards a measured point; return early to look for divergence, to be listened to or to yield a block."""
        started = time.monotonic()
        with flushed_denormals():
            while not self.motion.reached(number):
                self.lane_steps += self.motion.advance(number)
                now = time.monotonic()
                if now - self.listened > _LISTEN_SECONDS:
                    self.listened = now
                    break
                if self.motion.at_check:
                    break
        self.training_seconds += time.monotonic() - started
        dropped = self.stopped()
        if dropped:
            self._keep([place for place, lane in enumerate(self.lanes) if lane not in dropped])

    def _outputs(self, x: Tensor) -> Tensor:
        """(K, N, C) f(x), computed in the dtype of x, in float64."""
        return self.network.forward(tuple(weight.to(x.dtype) for weight in self.motion.weights), x).double()

    def _checked(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What divergence is looked for on: the compressed set of a product of matrices, or the first samples."""
        if self.network.is_compressed(self.loss_name):
            return self.data.x, self.data.y
        return x[:, :CHECK_ROWS].clone(), y[:, :CHECK_ROWS].to(torch.float64)

    def _collapsed(self) -> Tensor:
        """(K,) which lanes have decayed to where their arithmetic underflows."""
        return has_collapsed(self.network.log_size(self.motion.weights), self.size_at_first, self.dtype)

    def _index(self, places: Sequence[int]) -> Tensor | slice:
        """What picks the lanes at these places out of a tensor (K, ..); nothing is copied where all are meant."""
        if len(places) == len(self.lanes):
            return slice(None)
        return torch.tensor(places, dtype=torch.long, device=self.weight_decay.device)

    def _parts(self, places: list[int]) -> Iterator[list[int]]:
        """Places in the stack, as many at a time as have weights for one block."""
        lane_bytes = sum(array[0].numel() * array.element_size() for array in self.motion.weights)
        count = max(1, MOST_BYTES // max(1, lane_bytes))
        for start in range(0, len(places), count):
            yield places[start : start + count]

    def _measure(self, places: Sequence[int], number: int) -> None:
        """Measure the lanes at these places at a point, and end those that are where they end."""
        started, index = time.monotonic(), self._index(places)
        with flushed_denormals():
            measured = self._measured(index)
        self.rows.add([self.lanes[place] for place in places], self.motion.step, self.motion.time[index], measured)
        self.measuring_seconds += time.monotonic() - started
        self._end(places, measured, number)

    def _end(self, places: Sequence[int], measured: Measured, number: int) -> None:
        """End the measured lanes that have diverged or collapsed, are at their last point or where they are to stop.

        Args:
            places: of the measured lanes.
            measured: of each of them.
            number: of the point.
        """
        ending, whole, loss = self.motion.ending(number), list[int](), measured.network["train_loss"]
        stops = self.stopping.reasons([self.lanes[place] for place in places], self.motion.step, measured)
        index = self._index(places)
        healthy, gone = torch.stack([self._is_healthy(loss, index), self._collapsed()[index]]).tolist()
        ends: dict[int, LaneEnd] = {}
        for at, (place, fine, small) in enumerate(zip(places, healthy, gone, strict=True)):
            if not fine:
                ends[place] = self._ended(place, "diverged", EXPLODED)
            elif place in ending or at in stops or small:
                reason = LAST_STEP if place in ending else stops.get(at, COLLAPSED)
                ends[place] = self._ended(place, "completed", reason)
                if self.lanes[place] in self.keeps and at not in stops and not small:
                    whole.append(place)
        self.states += self._last_states(whole, number)
        self.ended += ends.values()
        self._keep([place for place in range(len(self.lanes)) if place not in ends])

    def _last_states(self, places: list[int], number: int) -> tuple[tuple[int, int, bytes], ...]:
        """Where lanes are at their last step, as a checkpoint says it, of those that would go on if they were longer.

        Args:
            places: of lanes that neither their last row nor their settings end.
            number: of the point.
        """
        if places and self.motion.step % CHECK_STEPS == 0:
            # a longer trial that is not measured here is looked at here
            left = self._is_healthy(self.loss.value(self._outputs(self.checked_x), self.checked_y), slice(None))
            places = [place for place in places if left[place]]
        if not places:
            return ()
        index = torch.tensor(places)
        state = {name: part[index.to(part.device)] for name, part in self.motion.state(number).items()}
        lanes = [self.lanes[place] for place in places]
        return pack(lanes, self.motion.step, state | self.stopping.state(lanes), MOST_KEPT_BYTES)

    def _ended(self, place: int, state: str, reason: str, error: str | None = None) -> LaneEnd:
        return LaneEnd(self.lanes[place], state, self.motion.step, error, reason)

    def _is_healthy(self, loss: Tensor, index: Tensor | slice) -> Tensor:
        """Whether losses are numbers and have not exploded, of the lanes at these places."""
        return loss.isfinite() & (loss <= self.explodes_at[index])

    def _end_unhealthy(self, but: Sequence[int]) -> None:
        """End lanes that have diverged or collapsed between two measured points, each with a row where it is.

        Args:
            but: places of the lanes that are about to be measured.
        """
        if len(but) == len(self.lanes):
            return
        loss, left = self.loss.value(self._outputs(self.checked_x), self.checked_y), frozenset(but)
        healthy, gone = torch.stack([self._is_healthy(loss, slice(None)), self._collapsed()]).tolist()
        places = [place for place in range(len(self.lanes)) if place not in left]
        ends = {place: self._ended(place, "diverged", EXPLODED) for place in places if not healthy[place]}
        collapsed = [place for place in places if gone[place] and place not in ends]
        self._end_early(ends | {place: self._ended(place, "completed", COLLAPSED) for place in collapsed})

    def _end_stuck(self) -> None:
        """End lanes that cannot move any more, each with a row where it is."""
        self._end_early({place: self._ended(place, "diverged", STUCK, why) for place, why in self.motion.stuck()})

    def _end_early(self, ends: Mapping[int, LaneEnd]) -> None:
        """End the lanes at these places, each with a row where it is."""
        if not ends:
            return
        places = list(ends)
        index = torch.tensor(places, device=self.weight_decay.device)
        lanes = [self.lanes[place] for place in places]
        self.rows.add(lanes, self.motion.step, self.motion.time[index], self._measured(index))
        self.ended += ends.values()
        self._keep([place for place in range(len(self.lanes)) if place not in ends])

    def _measured(self, index: Tensor | slice) -> Measured:
        """Every metric asked for, of the running lanes at these places."""
        weights = tuple(weight[index] for weight in self.motion.weights)
        initial = None if self.initial is None else tuple(weight[index] for weight in self.initial)
        point = Point(self.data.select(index), self.request, self.loss_name, initial, self.weight_decay[index])
        measured = self.network.measure(weights, point)
        return with_others(measured, self.others.measured(weights, index, point))

    def _keep(self, places: list[int]) -> None:
        """Compact the stack to the lanes at these places."""
        if len(places) == len(self.lanes):
            return
        self.lanes = [self.lanes[place] for place in places]
        index = torch.tensor(places, dtype=torch.long, device=self.weight_decay.device)
        self.motion.keep(index)
        self.data = self.data.select(index)
        self.others.keep(index)
        self.weight_decay, self.explodes_at = self.weight_decay[index], self.explodes_at[index]
        self.checked_x, self.checked_y = self.checked_x[index], self.checked_y[index]
        self.size_at_first = self.size_at_first[index]
        if self.initial is not None:
            self.initial = tuple(weight[index] for weight in self.initial)

    def _checkpoints(self, number: int) -> Iterator[tuple[tuple[int, int, bytes], ...]]:
        """Where the running lanes are on the way to a measured point, in parts that fit a block."""
        self.saved = time.monotonic()
        state = self.motion.state(number) | self.stopping.state(self.lanes)
        # what is larger is written less often
        self.heaviness = max(1.0, size(state) / MOST_BYTES)
        yield from pack_in_parts(list(self.lanes), self.motion.checkpoint_step(number), state)

    def _block(self, *, last: bool, checkpoints: tuple[tuple[int, int, bytes], ...] = ()) -> Block:
        network, layers, parametrised = self.rows.take()
        block = Block(
            network,
            layers,
            parametrised,
            tuple(self.ended),
            self.lane_steps,
            self.training_seconds,
            self.measuring_seconds,
            last,
            tuple(self.kept),
            checkpoints,
            self.states,
            self.motion.is_compiled,
            self.motion.is_captured,
        )
        self._reset()
        return block
