"""A pool of trainer actors: as many as the cluster has room for, started ahead of work, watched, and replaced."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
import structlog
from ray.exceptions import ActorUnavailableError, GetTimeoutError, NodeDiedError, RayError

from service.store.attempts import Place
from workers.blocks import Stack, Told
from workers.sizing import Device, Wanted
from workers.trainer import BACKPRESSURE, start_trainer

log = structlog.get_logger()

START_SECONDS = 60.0
AGAIN_SECONDS = 300.0
"""Until a trainer that cannot use its GPU is started anew: somebody may have mended the node."""
ANSWER_SECONDS = 1.0
"""For fetching what is ready: an object on a node that hangs never comes."""
SOON_SECONDS = 10.0
"""A trainer that was asked for so lately is counted as one that runs."""


class TrainerDied(Exception):
    """The trainer ended, or its stream stopped without an end marker; the message says how."""

    def __init__(self, reason: str, *, is_node_lost: bool = False) -> None:
        super().__init__(reason)
        self.is_node_lost = is_node_lost
        """Whether its whole node is gone, which says nothing about what it trained."""


@dataclass
class Seat:
    """One place in the pool: a trainer and, while it works, the stream of its stacks."""

    trainer: Any
    description: Any
    """Reference to what the trainer says of itself, until it is known."""
    device: Device
    about: dict[str, Any] | None = None
    stream: Any = None
    payload: Any = None
    """What the dispatcher keeps with the running stacks."""
    asked: float = field(default_factory=time.monotonic)
    """When, by the monotonic clock, Ray was asked for it."""
    heard: float = field(default_factory=time.monotonic)
    """When, by the monotonic clock, it was started or last sent something."""
    pinged: Any = None
    """(reference, time) of a ping that was sent since."""
    fetching: Any = None
    """Reference to an item that is made and was not fetched in time."""
    is_surplus: bool = False
    """To be ended once its stacks have ended."""
    allowed_seconds: float = math.inf
    """In which something must be sent, though it answers pings."""

    @property
    def is_usable(self) -> bool:
        """Whether its trainer is up and can train on its device."""
        return self.about is not None and "error" not in self.about

    @property
    def memory_bytes(self) -> int | None:
        """Of its trainer's GPU; None on a CPU, and of one that has not said it yet."""
        return self.about["memory_bytes"] if self.about else None

    @property
    def place(self) -> Place:
        """Where its trainer runs."""
        return Place(self.about["host"], self.about["node"]) if self.about else Place()


class Pool:
    """Seats for trainers; every method returns at once."""

    def __init__(
        self,
        block_seconds: float,
        checkpoint_seconds: float,
        step_deadline: float,
        ping_seconds: float = 5.0,
        per_gpu: int = 1,
    ) -> None:
        self.block_seconds, self.checkpoint_seconds = block_seconds, checkpoint_seconds
        self.step_deadline, self.ping_seconds = step_deadline, ping_seconds
        self.gpu_share = 1.0 / per_gpu
        self.seats: list[Seat] = []

    def _start(self, device: Device) -> Seat:
        trainer: Any = start_trainer(self.gpu_share if device == "gpu" else 0.0)
        return Seat(trainer, trainer.describe.remote(), device)

    def follow(self, wanted: Wanted) -> None:
        """Have as many trainers as are wanted: start those missing, end surplus ones, busy ones after their stack."""
        counts: tuple[tuple[Device, int], ...] = (("cpu", wanted.cpu), ("gpu", wanted.gpu))
        for device, count in counts:
            seats = [seat for seat in self.seats if seat.device == device]
            self.seats += [self._start(device) for _ in range(count - len(seats))]
            # those that never started first, then idle ones
            order = sorted(seats, key=lambda seat: (seat.stream is not None, seat.about is not None))
            surplus = max(0, len(seats) - count)
            for place, seat in enumerate(order):
                seat.is_surplus = place < surplus
                if seat.is_surplus and seat.stream is None:
                    self._end(seat)

    def _end(self, seat: Seat) -> None:
        ray.kill(seat.trainer)
        self.seats.remove(seat)

    def up(self, device: Device | None = None) -> list[Seat]:
        """Seats, of one device or of all, whose trainer runs or will in a moment."""
        now = time.monotonic()
        return [
            seat
            for seat in self.seats
            if (device is None or seat.device == device)
            and (seat.is_usable or (seat.about is None and now - seat.asked < SOON_SECONDS))
        ]

    def idle(self) -> list[Seat]:
        """Seats whose trainer is up and has nothing to do."""
        starting = [seat for seat in self.seats if seat.about is None]
        if starting:
            by_reference = {seat.description: seat for seat in starting}
            ready, _ = ray.wait(list(by_reference), num_returns=len(by_reference), timeout=0)
            for reference in ready:
                self._describe(by_reference[reference])
        return [seat for seat in self.seats if seat.is_usable and seat.stream is None]

    def _describe(self, seat: Seat) -> None:
        try:
            about: dict[str, Any] = ray.get(seat.description, timeout=ANSWER_SECONDS)
        except RayError as error:
            log.warning("trainer_start_failed", error=_first_line(error))
            self.replace(seat)
            return
        seat.about = about
        if "error" in about:
            log.error("gpu_cannot_be_used", host=about["host"], node=about["node"], error=about["error"])
        elif "warning" in about:
            log.warning("gpu_is_slow_at_float64", host=about["host"], told=about["warning"])

    def replace_dead(self) -> None:
        """Replace idle trainers that have died, so that no stack is given to them; look after those that start."""
        for seat in [seat for seat in self.seats if seat.stream is None]:
            if seat.about is None:
                if time.monotonic() - seat.heard > START_SECONDS:
                    log.warning(
                        f"trainer_waits_for_a_{seat.device}", next="free one in the Ray cluster, or lower NFA_TRAINERS"
                    )
                    seat.heard = time.monotonic()
            elif not seat.is_usable:
                if time.monotonic() - seat.asked > AGAIN_SECONDS:
                    self.replace(seat)
            elif seat.pinged is None:
                seat.pinged = (seat.trainer.ping.remote(), time.monotonic())
            elif ray.wait([seat.pinged[0]], timeout=0)[0]:
                self._hear_idle(seat)

    def _hear_idle(self, seat: Seat) -> None:
        try:
            ray.get(seat.pinged[0], timeout=ANSWER_SECONDS)
            seat.pinged = None
        except RayError as error:
            log.warning("idle_trainer_died", error=_first_line(error))
            self.replace(seat)

    def run(self, seat: Seat, stacks: Sequence[Stack], payload: Any, allowed_seconds: float = math.inf) -> None:
        """Start stacks on an idle seat, one after the other; it must send something every so often."""
        method = seat.trainer.train.options(num_returns="streaming", _generator_backpressure_num_objects=BACKPRESSURE)
        seat.stream, seat.payload = method.remote(stacks, self.block_seconds, self.checkpoint_seconds), payload
        seat.heard, seat.pinged, seat.fetching = time.monotonic(), None, None
        seat.allowed_seconds = allowed_seconds

    def busy(self) -> list[Seat]:
        """Seats with running stacks."""
        return [seat for seat in self.seats if seat.stream is not None]

    def ready(self, timeout: float) -> Iterator[tuple[Seat, Callable[[], tuple[Told, ...] | None]]]:
        """Seats with something to read, each with the function that reads it or raises TrainerDied.

        It answers None for what is made and does not come: it is waited for with all the rest, while the deadline runs.
        """
        by_stream = {seat.fetching or seat.stream: seat for seat in self.busy()}
        if not by_stream:
            return
        streams, _ = ray.wait(list(by_stream), num_returns=len(by_stream), timeout=0)
        if not streams:
            streams, _ = ray.wait(list(by_stream), num_returns=1, timeout=timeout)
        for stream in streams:
            seat = by_stream[stream]
            yield seat, lambda seat=seat: self._read(seat)

    def _read(self, seat: Seat) -> tuple[Told, ...] | None:
        try:
            reference = seat.fetching or next(seat.stream)
            try:
                item: Any = ray.get(reference, timeout=ANSWER_SECONDS)
            except GetTimeoutError:
                seat.fetching = reference
                return None
        except StopIteration:
            raise TrainerDied("its stream stopped without an end marker") from None
        except RayError as error:
            reason = f"{type(error).__name__}: {_first_line(error)}"
            raise TrainerDied(reason, is_node_lost=_is_node_lost(error)) from error
        seat.heard, seat.pinged, seat.fetching = time.monotonic(), None, None
        return item

    def free(self, seat: Seat) -> None:
        """The seat's stacks have ended in good order."""
        seat.stream = seat.payload = seat.fetching = None
        if seat.is_surplus:
            self._end(seat)

    def overdue(self) -> list[Seat]:
        """Busy seats that have been silent past the deadline and do not answer a ping either, or past all they may."""
        now = time.monotonic()
        silent = [seat for seat in self.busy() if now - seat.heard > self.step_deadline]
        found = []
        for seat in silent:
            if now - seat.heard > seat.allowed_seconds:
                found.append(seat)
                continue
            if seat.pinged is None:
                seat.pinged = (seat.trainer.ping.remote(), time.monotonic())
                continue
            reference, sent = seat.pinged
            answered, _ = ray.wait([reference], timeout=0)
            if answered:
                # alive and computing: one long step is no reason to kill it, as long as it may take
                seat.pinged = None
            elif time.monotonic() - sent > self.ping_seconds:
                found.append(seat)
        return found

    def replace(self, seat: Seat) -> None:
        """Kill the seat's trainer, if it still lives, and start another in its place, unless there are too many."""
        if seat.is_surplus:
            self._end(seat)
            return
        ray.kill(seat.trainer)
        self.seats[self.seats.index(seat)] = self._start(seat.device)

    def stop_lanes(self, seat: Seat, place: int, lanes: frozenset[int]) -> None:
        """Ask the seat's trainer to drop lanes of the stack with that place; it answers with its next block."""
        seat.trainer.stop.remote(place, lanes)


def _is_node_lost(error: RayError) -> bool:
    """Whether the trainer's node is gone, or cannot be reached, rather than the trainer alone.

    Until the head notices that a node is lost, its actors are "unavailable"; that a process died on a node that lives,
    Ray knows within a second. Later it says so by type for tasks, and only in words for actors.
    """
    return (
        isinstance(error, (ActorUnavailableError, NodeDiedError))
        or "node has died" in str(error)
        or "node was terminated" in str(error)
    )


def _first_line(error: RayError) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
