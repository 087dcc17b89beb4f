"""Leases trials, has them trained in stacks, records what comes back, and replaces what dies.

One thread, one loop. Nothing a trainer sends counts until it is committed under the attempt's number; a lane that the
store disowns (cancelled, or leased by another) is dropped without a word. docs/operations.md has the promises.
"""

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
import structlog

from service.errors import StoreUnavailable
from service.grid.stacking import lanes_per_stack, stack_key
from service.store import checkpoints, cluster, datasets, ids, kept_states, leases, reports
from service.store.attempts import Place, place_attempts
from service.store.holders import Pair
from service.store.leases import Leased, Waiting
from service.store.reports import End, Report
from service.store.session import Store
from workers.blocks import Block, Stack
from workers.holding import Holding
from workers.measuring_again import Measuring, MeasuringAgain
from workers.pool import Pool, Seat, TrainerDied
from workers.provenance import provenance_of, reached
from workers.recovery import INTERRUPTIONS, after_failure, backoff_seconds
from workers.running import Running, lane_of, named
from workers.searches import Searches
from workers.settings import WorkerSettings
from workers.sizing import MAY_HAVE, wanted_trainers
from workers.tally import Tally
from workers.trainer import Broken
from workers.watchdog import Watchdog

log = structlog.get_logger()


@dataclass
class Dispatcher:
    """The loop. `stop` is set by a signal; `run` then hands unfinished work back and returns."""

    store: Store
    pool: Pool
    settings: WorkerSettings
    identity: str
    provenance: dict[str, Any]
    watchdog: Watchdog
    stop: threading.Event = field(default_factory=threading.Event)
    retries: list[tuple[float, tuple[Leased, ...]]] = field(default_factory=list)
    """Stacks to try again, each with the monotonic time from which on."""
    shares: dict[str, int] = field(default_factory=dict)
    """Lanes per stack by stack key, kept while trials of that key wait: late stacks are as large as early ones."""
    tally: Tally = field(default_factory=Tally)
    beaten: float = -1e9
    swept: float = -1e9
    again: MeasuringAgain = field(init=False)

    def __post_init__(self) -> None:
        self.again = MeasuringAgain(self.store, self.pool, self.settings, self.identity, self.watchdog, self.stop)
        self.holding = Holding(self.store, self.identity, self.settings.lease_seconds)
        self.searches = Searches(self.store, self.settings)

    def run(self) -> None:
        """Work until stopped."""
        try:
            while not self.stop.is_set():
                self.watchdog.turn()
                self._guarded(self._turn)
        finally:
            self._hand_back()

    def _turn(self) -> None:
        self._beat()
        started = self._fill() or (self.searches.turn() and self._fill())
        self._kill_overdue()
        if not self.pool.busy():
            if not started:
                self.stop.wait(self.settings.idle_poll_seconds)
            return
        for seat, read in self.pool.ready(timeout=0.2):
            self._receive(seat, read)

    def _guarded(self, turn: Callable[[], object]) -> None:
        """The store may be away for a while: keep the stacks running and try again."""
        try:
            turn()
        except StoreUnavailable as error:
            # what was asked may have been done all the same
            self.holding.doubt()
            log.warning("store_unavailable", error=error.detail)
            self.stop.wait(1.0)

    # -- leases -----------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Renew leases and our own entry, and put back what others let expire."""
        now = time.monotonic()
        if now - self.beaten >= self.settings.heartbeat_seconds:
            self.pool.replace_dead()
            self._follow()
            cluster.beat(self.store, self.identity, len(self.pool.up()), self._resources())
            self.again.beat()
            self._drop(self.holding.renew(self._held))
            self.beaten = now
        if now - self.swept >= self.settings.sweep_seconds:
            requeued = leases.sweep(self.store)
            if requeued:
                log.warning("leases_expired", trials=requeued)
            if dropped := kept_states.bound_states(self.store, self.settings.kept_state_bytes):
                log.info("states_dropped", trials=dropped, next="longer trials of these begin at the beginning")
            self.again.sweep()
            self.swept = now

    def _follow(self) -> None:
        """Have trainers for the nodes that the cluster has now."""
        self.pool.follow(
            wanted_trainers(ray.cluster_resources(), self.settings.trainers, self.settings.trainers_per_gpu)
        )
        served = {device for seat in self.pool.seats for device in MAY_HAVE[seat.device]}
        lost = [part for _, part in self.retries if part[0].device not in served]
        if lost:
            # others may have such trainers
            leases.release(self.store, [trial.held for part in lost for trial in part])
            self.retries = [(due, part) for due, part in self.retries if part not in lost]

    def _resources(self) -> dict[str, Any]:
        """Trainers, the stacks they run, and what has been done so far."""
        stacks = [
            {
                "stack": seat.payload.trials[0].stack_key[:12],
                "experiments": sorted({ids.experiment_id(trial.queued_for) for trial in seat.payload.trials}),
                "trials": len(seat.payload.open),
                "node": seat.about and seat.about["node"],
                "seconds": round(time.monotonic() - seat.payload.started, 1),
            }
            for seat in self.pool.busy()
        ]
        trainers = [seat.about for seat in self.pool.seats if seat.about]
        return {"trainers": trainers, "stacks": stacks, "counters": self.tally.as_counters()}

    def _held(self) -> list[Pair]:
        """Everything under our leases."""
        held = [pair for seat in self._training() for pair in seat.payload.held]
        return held + [trial.held for _, trials in self.retries for trial in trials]

    def _drop(self, pairs: frozenset[Pair]) -> None:
        """Stop every lane of these attempts, wherever it is."""
        if not pairs:
            return
        for seat in self._training():
            running: Running = seat.payload
            lanes = running.lanes_of(pairs)
            if lanes:
                running.open -= lanes
                self.pool.stop_lanes(seat, lanes)
                log.info("lanes_dropped", **named([running.trials[lane] for lane in sorted(lanes)]))
        self.retries = [(due, tuple(t for t in part if t.held not in pairs)) for due, part in self.retries]
        self.retries = [(due, part) for due, part in self.retries if part]

    def _training(self) -> list[Seat]:
        """Seats that train."""
        return [seat for seat in self.pool.busy() if isinstance(seat.payload, Running)]

    def _fill(self) -> bool:
        """Give every idle trainer a stack, of trials and of kept weights by turns; whether any got one."""
        given, empty = False, set[str]()
        for seat in self.pool.idle():
            if seat.device in empty:
                continue
            turns = (self._lease, self.again.start) if self.again.was_last else (self.again.start, self._lease)
            if any(turn(seat) for turn in turns):
                given = True
            else:
                empty.add(seat.device)
        return given

    def _lease(self, seat: Seat) -> bool:
        """Give an idle trainer trials; whether any wait."""
        trials = self._due_retry(seat) or leases.lease_stack(
            self.store,
            self.identity,
            lease_seconds=self.settings.lease_seconds,
            choose=functools.partial(self._lanes, seat),
            devices=MAY_HAVE[seat.device],
            place=_place(seat),
        )
        if trials:
            self._start(seat, tuple(trials))
            self.again.was_last = False
        return bool(trials)

    def _due_retry(self, seat: Seat) -> tuple[Leased, ...]:
        now = time.monotonic()
        for index, (due, trials) in enumerate(self.retries):
            if due <= now and trials[0].device in MAY_HAVE[seat.device]:
                place_attempts(self.store, [trial.held for trial in trials], _place(seat))
                del self.retries[index]
                return trials
        return ()

    def _lanes(self, seat: Seat, settings: dict[str, Any], waiting: Waiting) -> int:
        """How many of the waiting trials of one stack key to train together: all trainers of a kind get a share."""
        memory: int | None = seat.about["memory_bytes"] if seat.about else None
        up = self.pool.up(seat.device)
        idle = sum(one.stream is None for one in up)
        fair = lanes_per_stack(waiting.trials, len(up), settings, memory_bytes=memory, keys=waiting.keys, idle=idle)
        key = stack_key(settings) + seat.device
        share = max(fair, self.shares.pop(key, 0))
        if share < waiting.trials:
            self.shares[key] = share
        return share

    def _start(self, seat: Seat, trials: tuple[Leased, ...]) -> None:
        arrays = datasets.arrays_for(self.store, [trial.settings for trial in trials])
        saved = checkpoints.checkpoints_of(self.store, [t.trial_id for t in trials if t.checkpoint_step >= 0])
        stack = Stack(tuple(lane_of(trial, saved) for trial in trials), arrays)
        self.pool.run(seat, stack, Running(trials))
        self.tally.stacks += 1
        self.tally.lanes += len(trials)
        log.info("stack_started", **named(trials), node=_place(seat).node, from_step=trials[0].checkpoint_step)

    # -- what comes back --------------------------------------------------------------------------------------------

    def _receive(self, seat: Seat, read: Callable[[], Block | Broken]) -> None:
        try:
            item = read()
        except TrainerDied as death:
            running = seat.payload
            log.warning("trainer_died", reason=str(death), **named(running.still), node=_place(seat).node)
            self.pool.replace(seat)
            self.tally.trainers_replaced += 1
            if death.is_node_lost:
                self._interrupted(running, str(death))
            else:
                self._failed(running, f"the trainer died: {death}", is_final=False)
            return
        if isinstance(item, Broken):
            running = seat.payload
            self.pool.free(seat)
            if item.is_checkpoint:
                self._restarted(running, item.error)
            else:
                self._failed(running, item.error, is_final=item.is_final)
            return
        if isinstance(seat.payload, Measuring):
            self.again.received(seat, item)
        else:
            self._record(seat, item)

    def _record(self, seat: Seat, block: Block) -> None:
        """Commit a block under its attempts' numbers; keep trying while the store is away."""
        running: Running = seat.payload
        running.counted(block)
        self.tally.steps += block.lane_steps
        self.tally.training_seconds += block.training_seconds
        self.tally.measuring_seconds += block.measuring_seconds
        provenance = self.provenance | provenance_of(running, seat.about or {})
        ends = tuple(
            End(trial.trial_id, end.state, end.step, end.error, provenance | reached(trial, end))
            for end in block.ended
            if end.lane in running.open
            for trial in [running.trials[end.lane]]
        )
        report = Report(
            tuple(trial.held for trial in running.trials),
            frozenset(running.open),
            running.is_first,
            block.network,
            block.layers,
            block.parametrised,
            ends,
            block.weights,
            block.checkpoints,
            block.states,
            running.trials[0].checkpoint_step if running.is_first else -1,
        )
        if block.last:
            # the trainer goes on while this is written
            self.pool.free(seat)
            self._guarded(self._fill)
        gone = self._commit(report)
        running.committed(block)
        self.searches.ended(block.ended)
        if block.last:
            log.info("stack_ended", **named(running.trials), lane_steps=running.lane_steps, **running.spent())
        self._drop(frozenset(pair for pair in report.trials if pair[0] in gone))

    def _commit(self, report: Report) -> frozenset[int]:
        """Record a block, trying again while the leases could still be ours; answers the trials to drop.

        A block that cannot be committed would leave a gap in its curves, so all its trials are dropped then: they are
        queued again once the store answers, and start over.
        """
        until = time.monotonic() + self.settings.lease_seconds * 2 / 3
        while True:
            self.watchdog.turn()
            began = time.monotonic()
            try:
                gone = reports.record(self.store, report, self.settings.lease_seconds)
                self.tally.committed(report, time.monotonic() - began)
                return gone
            except StoreUnavailable as error:
                log.warning("store_unavailable", error=error.detail)
                report = replace(report, is_repeat=True)
                if time.monotonic() > until or self.stop.wait(0.5):
                    self.holding.doubt()
                    log.error("stack_dropped", trials=len(report.open), next="it is queued again, and starts over")
                    return frozenset(report.trials[lane][0] for lane in report.open)

    # -- failures ---------------------------------------------------------------------------------------------------

    def _kill_overdue(self) -> None:
        for seat in self.pool.overdue():
            running = seat.payload
            log.warning("trainer_overdue", **named(running.still), node=_place(seat).node)
            self.pool.replace(seat)
            self.tally.trainers_replaced += 1
            self._failed(running, "the trainer stopped answering", is_final=False)

    def _failed(self, running: Running | Measuring, error: str, *, is_final: bool) -> None:
        """Split what was running, or judge the trial that was alone."""
        if isinstance(running, Measuring):
            return self.again.failed(running, error, is_final=is_final)
        lanes = sorted(running.open)
        if not lanes:
            return
        first = running.trials[lanes[0]]
        decision = after_failure(lanes, first.failures, is_final)
        if not decision.parts:
            end = End(first.trial_id, "failed", None, error, {**self.provenance})
            reports.fail(self.store, first.trial_id, first.attempt, end)
            log.error("trial_failed", error=error, **named([first]))
            return
        delay = backoff_seconds(first.failures) if decision.is_charged else 0.0
        for part in decision.parts:
            again = self._again([running.trials[lane] for lane in part], charge=decision.is_charged, error=error)
            if again:
                self.tally.stacks_retried += 1
                self.retries.append((time.monotonic() + delay, again))

    def _interrupted(self, running: Running | Measuring, error: str) -> None:
        """Try a stack again whose node was lost: whole, later, charged to nobody."""
        if isinstance(running, Measuring):
            return self.again.failed(running, error, charge=False)
        again = [trial for trial in running.still if trial.interruptions < INTERRUPTIONS]
        for trial in running.still:
            if trial not in again:
                end = End(trial.trial_id, "failed", None, f"interrupted too often, last: {error}", {**self.provenance})
                reports.fail(self.store, trial.trial_id, trial.attempt, end, charge=False)
                log.error("trial_failed", error=end.error, **named([trial]))
        if restarted := self._again(again, charge=False, error=error, lost=True):
            self.tally.stacks_retried += 1
            delay = backoff_seconds(max(trial.interruptions for trial in again))
            self.retries.append((time.monotonic() + delay, restarted))

    def _restarted(self, running: Running, error: str) -> None:
        """Try a stack again from the beginning, whose checkpoints could not be read."""
        log.warning("checkpoints_dropped", error=error, **named(running.still))
        if again := self._again(running.still, charge=False, error=error, afresh=True):
            self.tally.stacks_retried += 1
            self.retries.append(
                (time.monotonic(), tuple(one._replace(checkpoint_step=-1, continued_from=None) for one in again))
            )

    def _again(self, trials: Sequence[Leased], *, error: str, lost: bool = False, **how: bool) -> tuple[Leased, ...]:
        """The same trials under new attempt numbers, less those that are no longer ours; see `leases.restart`."""
        held = [trial.held for trial in trials]
        attempts = leases.restart(self.store, held, self.settings.lease_seconds, error=error, lost=lost, **how)
        return tuple(
            trial._replace(
                attempt=attempts[trial.trial_id],
                failures=trial.failures + int(how["charge"]),
                interruptions=trial.interruptions + int(lost),
            )
            for trial in trials
            if trial.trial_id in attempts
        )

    def _hand_back(self) -> None:
        """Requeue whatever is unfinished, uncharged."""
        held = self._held()
        try:
            self.again.hand_back()
            if held:
                leases.release(self.store, held)
                log.info("handed_back", trials=len(held))
            cluster.remove_dispatcher(self.store, self.identity)
        except StoreUnavailable as error:
            log.warning("not_handed_back", error=error.detail, next="their leases run out by themselves")


def _place(seat: Seat) -> Place:
    """Where a seat's trainer runs."""
    return Place(seat.about["host"], seat.about["node"]) if seat.about else Place()
