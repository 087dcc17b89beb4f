"""How many of the trials that wait a trainer gets: its part of what its kind gets, by the speeds that were seen."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from service.grid.stacking import enough_waiting, lanes_per_stack, stack_key
from service.store.leases import Leased
from service.store.next_stack import Waiting
from workers.blocks import Block
from workers.division import Kind, Part, Timing, goes_on, part_of
from workers.pool import SOON_SECONDS, Pool, Seat
from workers.running import Given, Running
from workers.shapes import Shapes
from workers.sizing import MAY_HAVE, Device, Wanted
from workers.speeds import Speeds, expected

Lease = Callable[[tuple[str, ...], frozenset[str]], list[list[Leased]]]

_ANY: Final = "auto"
_MOST_LEFT: Final = 8
"""Stack keys that a trainer passes over to find one of which it gets a part."""
_KINDS: Final[tuple[Device, ...]] = ("cpu", "gpu")


class Dividing:
    """What one dispatcher decides by.

    Args:
        pool: its trainers.
        shapes: of the data of trials.
    """

    def __init__(self, pool: Pool, shapes: Shapes) -> None:
        self._pool, self._shapes, self.speeds = pool, shapes, Speeds()
        self.elsewhere = Wanted(0, 0)
        """Trainers that other dispatchers of the cluster have."""
        self._shares: dict[str, int] = {}
        """Lanes per stack by stack key, kept while trials of that key wait: late stacks are as large as early ones."""
        self._left: set[str] = set()
        """Stack keys whose trials a trainer leaves to others, of those that it was asked about."""
        self._keys = 1
        """That waited when `lanes` was asked last."""
        self._seconds = 0.0
        """That the stacks take which one trainer is being given."""

    def chosen(self, seat: Seat, lease: Lease) -> list[list[Leased]]:
        """Lease stacks for a trainer that has nothing to do, whatever stands before them that is left to others.

        Args:
            seat: the trainer's.
            lease: from what trials may ask for and the stack keys to pass over to the first that wait; asks `lanes`,
                and `more`.
        """
        self._left.clear()
        self._seconds = 0.0
        looks, stacks = -1, list[list[Leased]]()
        while not stacks and looks < len(self._left) <= _MOST_LEFT:
            looks = len(self._left)
            stacks = lease(MAY_HAVE[seat.device], frozenset(self._left))
        # what it alone may have has stack keys that others have too
        return stacks or (lease((seat.device,), frozenset()) if self._left else [])

    def more(self, seat: Seat, stack: Sequence[Leased]) -> bool:
        """Whether a trainer that is given a stack gets another one together with it, and those before."""
        first = stack[0]
        timing = self._timing(seat.device, first.stack_key, first.settings, seat.memory_bytes)
        self._seconds += timing.seconds(len(stack))
        trainers = len(self._pool.up(seat.device)) + getattr(self.elsewhere, seat.device)
        return goes_on(self._seconds, self._keys, trainers)

    def lanes(self, seat: Seat, settings: dict[str, Any], waiting: Waiting) -> int:
        """How many of the waiting trials of one stack key a trainer that has nothing to do gets; 0: leave them."""
        self._keys = waiting.keys
        up, shape, memory = self._pool.up(seat.device), self._shapes.of(settings), seat.memory_bytes
        key, idle = stack_key(settings), sum(one.stream is None for one in up)
        kinds = self._kinds(seat, key, settings) if waiting.device == _ANY else {}
        whole = self._with_others(kinds, key, settings)
        if len(whole) > 1:
            part = part_of(seat.device, waiting.trials, whole, waiting.keys)
            if not part.lanes:
                # nobody waits for trainers of another dispatcher, whose work is not known here
                part = part_of(seat.device, waiting.trials, kinds, waiting.keys) if len(kinds) > 1 else Part(1, 1)
            if not part.lanes:
                self._left.add(key)
                return 0
            count = min(waiting.trials, part.lanes)
            idle = min(idle, part.trainers)
            return lanes_per_stack(count, part.trainers, settings, shape, memory, keys=waiting.keys, idle=idle)
        fair = lanes_per_stack(waiting.trials, len(up), settings, shape, memory, keys=waiting.keys, idle=idle)
        share = max(fair, self._shares.pop(key + seat.device, 0))
        if share < waiting.trials:
            self._shares[key + seat.device] = share
        return share

    def enough(self, seat: Seat, settings: dict[str, Any]) -> int:
        """How many waiting trials make a difference to `lanes`."""
        shape = self._shapes.of(settings)
        up = {device: self._pool.up(device) for device in _KINDS}
        up[seat.device] = up[seat.device] or [seat]
        return sum(enough_waiting(len(seats), settings, shape, seats[0].memory_bytes) for seats in up.values() if seats)

    def took(self, seat: Seat, given: Given) -> None:
        """Note what a trainer was given, and until when it should have it done."""
        until = given.stacks[0].started
        for running in given.stacks:
            first = running.trials[0]
            timing = self._timing(seat.device, first.stack_key, first.settings, seat.memory_bytes)
            until += timing.seconds(len(running.trials))
            running.until = until

    def heard(self, seat: Seat, running: Running, block: Block) -> None:
        """Learn from a block, which was counted, how long its stack takes."""
        left = running.left_seconds()
        if left is not None:
            running.until = time.monotonic() + left
        whole = running.whole(is_last=block.last)
        if whole is None:
            return
        first = running.trials[0]
        model = expected(first.settings, self._shapes.of(first.settings), seat.device, seat.memory_bytes)
        self.speeds.observe(first.stack_key, seat.device, model, whole.lanes, whole.seconds)

    def _timing(self, device: Device, key: str, settings: Mapping[str, Any], memory: int | None) -> Timing:
        return self.speeds.timing(key, device, expected(settings, self._shapes.of(settings), device, memory))

    def _kinds(self, seat: Seat, key: str, settings: Mapping[str, Any]) -> dict[Device, Kind]:
        """Kinds of our own that share what waits with a trainer's, which is one of them."""
        now = time.monotonic()
        kinds: dict[Device, Kind] = {}
        for device in _KINDS:
            seats = self._pool.up(device)
            if device != seat.device:
                # those that train what they alone may have get more of it, as far as is known here
                seats = [one for one in seats if not _has_own(one)]
            if seats:
                timing = self._timing(device, key, settings, seats[0].memory_bytes)
                kinds[device] = Kind(timing, np.array([_free_in(one, now) for one in seats]))
        return kinds

    def _with_others(self, kinds: Mapping[Device, Kind], key: str, settings: Mapping[str, Any]) -> dict[Device, Kind]:
        """The same with the trainers of other dispatchers, as if these had nothing to do."""
        whole = dict(kinds)
        for device in _KINDS if kinds else ():
            if others := getattr(self.elsewhere, device):
                own = whole.get(device) or Kind(self._timing(device, key, settings, None), np.zeros(0))
                whole[device] = own._replace(free_in=np.append(own.free_in, np.zeros(others)))
        return whole


def _has_own(seat: Seat) -> bool:
    """Whether a trainer trains what no other kind may have."""
    return isinstance(seat.payload, Given) and any(one.trials[0].device != _ANY for _, one in seat.payload.left)


def _free_in(seat: Seat, now: float) -> float:
    """Seconds until a trainer has nothing to do; one that takes longer than it should takes as long again."""
    if seat.stream is None:
        return 0.0 if seat.about else max(0.0, seat.asked + SOON_SECONDS - now)
    until = seat.payload.until if isinstance(seat.payload, Given) else seat.payload.started
    return abs(until - now)
