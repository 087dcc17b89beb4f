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

from nfa_kernels.cost import CHECK_STEPS
from nfa_kernels.losses import loss_targets
from nfa_kernels.metrics import Measured
from nfa_kernels.networks import Params
from workers.blocks import STUCK, Block, LaneEnd, Stack
from workers.checkpoints import MOST_BYTES, MOST_KEPT_BYTES, CheckpointError, pack, pack_in_parts, size, unpack
from workers.film import Film
from workers.health import Health
from workers.kept_weights import KeptWeights, kept_weights
from workers.looks import LISTEN_SECONDS, End, Look, first_ends, looks_at_once
from workers.measuring import Measuring
from workers.motion import motion
from workers.network_data import TrainingSet
from workers.preparing import flushed_denormals, initial_weights, prepared
from workers.rows import Rows
from workers.stopping import Stopping

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
        settings = stack.lanes[0].settings
        training, trainings = settings["training"], [lane.settings["training"] for lane in stack.lanes]
        self.lanes = list(range(len(stack.lanes)))
        self.device = device
        self.block_seconds, self.checkpoint_seconds, self.stopped = block_seconds, checkpoint_seconds, stopped
        dtype = getattr(torch, training["dtype"])
        ready = prepared(stack, device, settings["measure"]["metrics"])
        self.network, x = ready.network, ready.x
        y = loss_targets(training["loss"], ready.y, ready.loss_numbers)
        weights = initial_weights(stack, self.network, device)
        seeds = [lane.seed for lane in stack.lanes]
        samples = self.network.training_data(TrainingSet(x, y, training, seeds, dtype))
        self.motion = motion(weights, samples, settings, trainings)
        decay = self.network.weight_decays(samples.owners, trainings, device)
        self.measuring = Measuring(stack, ready, settings, self.motion.weights, decay)
        self.rows = Rows(self.measuring.request)
        self.health = Health(self.network, training["loss"], self.motion.weights, ready.data, x.to(dtype), y)
        self.first, self.saved, self.heaviness = 0, time.monotonic(), 1.0
        self.keeps = frozenset(number for number, lane in enumerate(stack.lanes) if lane.keeps)
        self.stopping = Stopping(stack.lanes, self.network.layer_names)
        # known from the first point on
        self.point_seconds = LISTEN_SECONDS
        self.look_bytes = _lane_bytes(self.motion.weights) + self.measuring.lane_bytes
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
        number = self.first
        while self.lanes and number < self.motion.points:
            if not self.motion.reached(number):
                if number and time.monotonic() - self.saved > self.checkpoint_seconds * self.heaviness:
                    # here every row up to the checkpoint is measured, and none beyond
                    for part in self._checkpoints(number):
                        yield self._block(last=False, checkpoints=part)
                looks = self.motion.coming(number, self._most_looks())
                if len(looks) > 1:
                    self._film(looks)
                    number += sum(look.number is not None for look in looks)
                else:
                    self._advance(number)
                if time.monotonic() - self.yielded > self.block_seconds:
                    yield self._block(last=False)
                continue
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
            number += 1
        yield self._block(last=True)

    def _most_looks(self) -> int:
        often = min(self.block_seconds, self.checkpoint_seconds)
        return looks_at_once(self.look_bytes * len(self.lanes), self.point_seconds, often)

    def _advance(self, number: int) -> None:
        """Move towards a measured point; return early to look for divergence, to be listened to or to yield a block."""
        started = time.monotonic()
        with flushed_denormals():
            while not self.motion.reached(number):
                self.lane_steps += self.motion.advance(number)
                now = time.monotonic()
                if now - self.listened > LISTEN_SECONDS:
                    self.listened = now
                    break
                if self.motion.at_check:
                    break
        self.training_seconds += time.monotonic() - started
        self._drop_stopped()
        if self.motion.at_check:
            # measuring says as much; where weights are kept alone nothing changes
            self._end_unhealthy(but=self.motion.measured(number) if self.motion.reached(number) else [])

    def _drop_stopped(self) -> None:
        dropped = self.stopped()
        if dropped:
            self._keep([place for place, lane in enumerate(self.lanes) if lane not in dropped])

    def _film(self, looks: Sequence[Look]) -> None:
        """Move through several looks in one go, and end lanes where they would have been ended one look at a time.

        What a lane does after its end counts for nothing, and no other lane depends on it.
        """
        started, before = time.monotonic(), self.motion.step
        with flushed_denormals():
            film = Film(looks, *self.motion.film(looks))
        self.lane_steps += (self.motion.step - before) * len(self.lanes)
        filmed = time.monotonic()
        self.training_seconds += filmed - started
        losses, stops = list[Tensor](), dict[int, dict[int, str]]()
        measured = self._measured_on(film) if film.points else None
        if measured is not None:
            losses.append(measured.network["train_loss"])
            stops = self._stops(film, measured)
        if film.checks:
            losses.append(self.health.losses(film.at_checks, len(film.checks)))
        healthy, gone = self.health.judged(torch.cat(losses).view(len(looks), -1), film.weights)
        last = looks[-1].number
        ending = frozenset[int]() if last is None else self.motion.ending(last)
        ends = first_ends(film.by_look(healthy), film.by_look(gone), stops, ending)
        if measured is not None:
            places, steps, of_rows, values = film.rows(measured, ends)
            self.rows.add([self.lanes[place] for place in places], steps, of_rows, values)
        self._add_early(film, ends)
        looked = time.monotonic() - filmed
        self.measuring_seconds += looked
        self.point_seconds = looked / len(looks)
        self._end_all(ends, self.motion.points - 1 if last is None else last, [look.step for look in looks])
        self._drop_stopped()

    def _measured_on(self, film: Film) -> Measured:
        with flushed_denormals():
            return self.measuring.of(film.at_points, times=len(film.points))

    def _stops(self, film: Film, measured: Measured) -> dict[int, dict[int, str]]:
        """Look -> place -> why its settings stop a lane there."""
        if not self.stopping.is_asked:
            return {}
        count = len(self.lanes)
        parts = {at: measured.select(slice(n * count, (n + 1) * count)) for n, at in enumerate(film.points)}
        return {at: self.stopping.reasons(self.lanes, film.looks[at].step, part) for at, part in parts.items()}

    def _add_early(self, film: Film, ends: Mapping[int, End]) -> None:
        """Add a row of each lane that ends between two measured points, where it ends."""
        for number, at in enumerate(film.checks):
            if places := [place for place, end in ends.items() if end.look == at]:
                index, lanes = self._index(places), [self.lanes[place] for place in places]
                measured = self.measuring.of(film.at_check(number, index), index)
                self.rows.add(lanes, [film.looks[at].step] * len(lanes), film.times[at][index], measured)

    def _index(self, places: Sequence[int]) -> Tensor | slice:
        """What picks the lanes at these places out of a tensor (K, ..); nothing is copied where all are meant."""
        if len(places) == len(self.lanes):
            return slice(None)
        return torch.tensor(places, dtype=torch.long, device=self.device)

    def _parts(self, places: list[int]) -> Iterator[list[int]]:
        """Places in the stack, as many at a time as have weights for one block."""
        count = max(1, MOST_BYTES // max(1, _lane_bytes(self.motion.weights)))
        for start in range(0, len(places), count):
            yield places[start : start + count]

    def _measure(self, places: Sequence[int], number: int) -> None:
        """Measure the lanes at these places at a point, and end those that are where they end."""
        started, index = time.monotonic(), self._index(places)
        with flushed_denormals():
            measured = self.measuring.of(tuple(weight[index] for weight in self.motion.weights), index)
        self._add(places, index, measured)
        self.point_seconds = time.monotonic() - started
        self.measuring_seconds += self.point_seconds
        self._end(places, index, measured, number)

    def _add(self, places: Sequence[int], index: Tensor | slice, measured: Measured) -> None:
        """Add rows of the lanes at these places, where they are."""
        lanes = [self.lanes[place] for place in places]
        self.rows.add(lanes, [self.motion.step] * len(lanes), self.motion.time[index], measured)

    def _end(self, places: Sequence[int], index: Tensor | slice, measured: Measured, number: int) -> None:
        """End the measured lanes that have diverged or collapsed, are at their last point or where they are to stop.

        Args:
            places: of the measured lanes.
            index: the same.
            measured: of each of them.
            number: of the point.
        """
        weights, ending = tuple(weight[index] for weight in self.motion.weights), self.motion.ending(number)
        judged = self.health.judged(measured.network["train_loss"][None], weights, index)
        stops = self.stopping.reasons([self.lanes[place] for place in places], self.motion.step, measured)
        last = frozenset(at for at, place in enumerate(places) if place in ending)
        found = first_ends(*judged, {0: stops}, last)
        self._end_all({places[at]: end for at, end in found.items()}, number)

    def _end_all(self, ends: Mapping[int, End], number: int, steps: Sequence[int] = ()) -> None:
        """End lanes.

        Args:
            ends: by place.
            number: of the point that the stack is at or on the way to.
            steps: of the looks at which they end; none: where the stack is.
        """
        if not ends:
            return
        whole = [place for place, end in ends.items() if end.goes_on and self.lanes[place] in self.keeps]
        self.states += self._last_states(whole, number)
        steps = steps or [self.motion.step]
        found = sorted(ends.items(), key=lambda of: (of[1].look, of[0]))
        self.ended += [LaneEnd(self.lanes[place], end.state, steps[end.look], None, end.reason) for place, end in found]
        self._keep([place for place in range(len(self.lanes)) if place not in ends])

    def _last_states(self, places: list[int], number: int) -> tuple[tuple[int, int, bytes], ...]:
        """Where lanes are at their last step, as a checkpoint says it, of those that would go on if they were longer.

        Args:
            places: of lanes that neither their last row nor their settings end.
            number: of the point.
        """
        if places and self.motion.step % CHECK_STEPS == 0:
            # a longer trial that is not measured here is looked at here
            weights = self.motion.weights
            (left,), _ = self.health.judged(self.health.losses(weights)[None], weights)
            places = [place for place in places if left[place]]
        if not places:
            return ()
        index = torch.tensor(places)
        state = {name: part[index.to(part.device)] for name, part in self.motion.state(number).items()}
        lanes = [self.lanes[place] for place in places]
        return pack(lanes, self.motion.step, state | self.stopping.state(lanes), MOST_KEPT_BYTES)

    def _end_unhealthy(self, but: Sequence[int]) -> None:
        """End lanes that have diverged or collapsed between two measured points, each with a row where it is.

        Args:
            but: places of the lanes that are about to be measured.
        """
        if len(but) == len(self.lanes):
            return
        weights, left = self.motion.weights, frozenset(but)
        found = first_ends(*self.health.judged(self.health.losses(weights)[None], weights), {}, frozenset())
        ends = {place: end for place, end in found.items() if place not in left}
        self._end_early({place: self._ended(place, end.state, end.reason) for place, end in ends.items()})

    def _ended(self, place: int, state: str, reason: str, error: str | None = None) -> LaneEnd:
        return LaneEnd(self.lanes[place], state, self.motion.step, error, reason)

    def _end_stuck(self) -> None:
        """End lanes that cannot move any more, each with a row where it is."""
        self._end_early({place: self._ended(place, "diverged", STUCK, why) for place, why in self.motion.stuck()})

    def _end_early(self, ends: Mapping[int, LaneEnd]) -> None:
        """End the lanes at these places, each with a row where it is."""
        if not ends:
            return
        places = list(ends)
        index = torch.tensor(places, device=self.device)
        self._add(places, index, self.measuring.of(tuple(weight[index] for weight in self.motion.weights), index))
        self.ended += ends.values()
        self._keep([place for place in range(len(self.lanes)) if place not in ends])

    def _keep(self, places: list[int]) -> None:
        """Compact the stack to the lanes at these places."""
        if len(places) == len(self.lanes):
            return
        self.lanes = [self.lanes[place] for place in places]
        index = torch.tensor(places, dtype=torch.long, device=self.device)
        self.motion.keep(index)
        self.measuring.keep(index)
        self.health.keep(index)

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


def _lane_bytes(weights: Params) -> int:
    return sum(array.nbytes for array in weights) // len(weights[0])
