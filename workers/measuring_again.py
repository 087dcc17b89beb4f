"""The dispatcher's work on kept weights: leased as stacks, measured on its trainers, recorded under the fence.

A stack's numbers are committed at its end, in one transaction with the ends of its trials; what was cut off left
nothing, and is measured again. What fails goes back to the store's queue, in stacks of half its size.
"""

import functools
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import structlog

from service.errors import StoreUnavailable
from service.grid.inputs import datasets_of
from service.grid.remeasurement import inputs_of
from service.grid.stacking import enough_waiting, lanes_per_stack
from service.store import datasets, remeasurement_leases, remeasurement_reports
from service.store.next_stack import Waiting
from service.store.remeasurement_leases import Held, LeasedWeights
from service.store.remeasurement_reports import Part, WeightsReport
from service.store.session import Store
from workers.blocks import Again, Block, Lane, Stack
from workers.pool import Pool, Seat
from workers.running import named
from workers.settings import WorkerSettings
from workers.sizing import MAY_HAVE
from workers.watchdog import Watchdog

log = structlog.get_logger()


@dataclass
class Measuring:
    """A stack of kept weights on a trainer: what was leased by lane, which lanes are still ours, and its blocks."""

    trials: tuple[LeasedWeights, ...]
    started: float = field(default_factory=time.monotonic)
    open: set[int] = field(default_factory=set)
    parts: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open = set(range(len(self.trials)))

    @property
    def still(self) -> list[LeasedWeights]:
        """What the open lanes measure."""
        return [self.trials[lane] for lane in sorted(self.open)]

    @property
    def held(self) -> list[Held]:
        """(key, attempt) of the open lanes."""
        return [(one.key, one.attempt) for one in self.still]


@dataclass
class MeasuringAgain:
    """What a dispatcher does with seats that measure kept weights."""

    store: Store
    pool: Pool
    settings: WorkerSettings
    identity: str
    watchdog: Watchdog
    stop: threading.Event
    was_last: bool = False
    """The stack that was started last was one of kept weights: now a trial's turn comes first."""

    def seats(self) -> list[Seat]:
        """Seats that measure kept weights."""
        return [seat for seat in self.pool.busy() if isinstance(seat.payload, Measuring)]

    def start(self, seat: Seat) -> bool:
        """Give an idle seat a stack of kept weights; whether any wait."""
        leased = remeasurement_leases.lease_weights(
            self.store,
            self.identity,
            lease_seconds=self.settings.lease_seconds,
            choose=functools.partial(self._lanes, seat),
            enough=functools.partial(self._enough, seat),
            devices=MAY_HAVE[seat.device],
        )
        if not leased:
            return False
        first = leased[0]
        again = Again(
            tuple(first.asked["metrics"]), first.layers, tuple(first.asked["exponents"]), inputs_of(first.asked)
        )
        lanes = tuple(
            Lane(one.settings, one.seed, kept=one.weights, unmeasured=frozenset(one.unmeasured)) for one in leased
        )
        arrays = datasets.arrays_for(self.store, [one.settings for one in leased], datasets_of(again.inputs))
        self.pool.run(seat, [Stack(lanes, arrays, again)], Measuring(tuple(leased)))
        self.was_last = True
        log.info("measuring_started", **named(leased))
        return True

    def _lanes(self, seat: Seat, settings: dict[str, Any], waiting: Waiting) -> int:
        """How many to measure together: as many as would be trained together."""
        return lanes_per_stack(waiting.trials, len(self.pool.up(seat.device)), settings, memory_bytes=seat.memory_bytes)

    def _enough(self, seat: Seat, settings: dict[str, Any]) -> int:
        """How many that wait make a difference to `_lanes`."""
        return enough_waiting(len(self.pool.up(seat.device)), settings, memory_bytes=seat.memory_bytes)

    def beat(self) -> None:
        """Look whose lanes are; those that are no longer ours are dropped."""
        held = [pair for seat in self.seats() for pair in seat.payload.held]
        self._drop(remeasurement_leases.compare_weights(self.store, self.identity, held))

    def sweep(self) -> None:
        """Put back what others let expire."""
        if expired := remeasurement_leases.sweep_weights(self.store):
            log.warning("measuring_leases_expired", trials=expired)

    def received(self, seat: Seat, block: Block) -> None:
        """Keep a block; with the last one all of them are committed."""
        running: Measuring = seat.payload
        running.parts.append(Part(block.network, block.layers, block.parametrised))
        if not block.last:
            return
        self.pool.free(seat)
        measured = running.open & {end.lane for end in block.ended}
        trials = tuple(one.trial_id for one in running.trials)
        held = tuple((one.key, one.attempt) for one in running.trials)
        self._commit(WeightsReport(held, trials, frozenset(measured), tuple(running.parts)))
        log.info("measuring_ended", **named(running.still), seconds=round(time.monotonic() - running.started, 3))

    def _commit(self, report: WeightsReport) -> None:
        """Record a stack, trying again while the leases could still be ours; else they run out by themselves."""
        until = time.monotonic() + self.settings.lease_seconds * 2 / 3
        while True:
            self.watchdog.turn()
            try:
                remeasurement_reports.record_weights(self.store, report)
                return
            except StoreUnavailable as error:
                log.warning("store_unavailable", error=error.detail)
                if time.monotonic() > until or self.stop.wait(0.5):
                    log.error("measuring_dropped", trials=len(report.open), next="its leases run out, then again")
                    return

    def failed(self, running: Measuring, error: str, *, is_final: bool = False, charge: bool = True) -> None:
        """Hand a stack back that was not measured; one that was alone is charged, unless its node was lost."""
        log.warning("measuring_failed", error=error, **named(running.still))
        if charge:
            remeasurement_leases.fail_weights(self.store, running.held, error, is_final=is_final)
        else:
            remeasurement_leases.release_weights(self.store, running.held)

    def hand_back(self) -> None:
        """Requeue whatever is unfinished, uncharged."""
        held = [pair for seat in self.seats() for pair in seat.payload.held]
        if held:
            remeasurement_leases.release_weights(self.store, held)

    def _drop(self, keys: frozenset[int]) -> None:
        for seat in self.seats() if keys else []:
            running: Measuring = seat.payload
            lanes = frozenset(lane for lane in running.open if running.trials[lane].key in keys)
            if lanes:
                running.open -= lanes
                self.pool.stop_lanes(seat, 0, lanes)
