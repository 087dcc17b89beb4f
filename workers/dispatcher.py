"""Leases trials, has them trained in stacks, records what comes back, and replaces what dies.

One loop leases and reads, a second thread writes. Nothing a trainer sends counts until it is committed under the
attempt's number; a lane that the store disowns (cancelled, or leased by another) is dropped without a word.
docs/operations.md has the promises.
"""

import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from service.errors import StoreUnavailable
from service.store import checkpoints, cluster, datasets, ids, kept_states, leases
from service.store.holders import Pair
from service.store.leases import Leased
from service.store.reports import End, Report
from service.store.session import Store
from service.store.watching import Watch
from workers.blocks import Block, Broken, Stack, Told
from workers.committing import Committer
from workers.dividing import Dividing
from workers.failures import Failures
from workers.holding import Holding
from workers.measuring_again import Measuring, MeasuringAgain
from workers.pool import Pool, Seat, TrainerDied
from workers.provenance import provenance_of, reached
from workers.running import Given, Running, lane_of, named
from workers.searches import Searches
from workers.settings import WorkerSettings
from workers.shapes import Shapes, allowed_seconds
from workers.sharing import Sharing, cluster_of
from workers.sizing import MAY_HAVE
from workers.tally import Tally
from workers.traces import Traces
from workers.watchdog import Watchdog

log = structlog.get_logger()

_READ_SECONDS: Final = 0.2
_CLOSING_SECONDS: Final = 5.0
"""For what is on its way into the store when the dispatcher is told to stop."""
_TELLING_SECONDS: Final = 1.0
"""For what is on its way to the receiver of traces then."""


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
    traces: Traces | None = None
    """Tells of stacks, where somebody is to be told."""
    ends: int = 0
    """Trials whose ends have been written."""
    tally: Tally = field(default_factory=Tally)
    beaten: float = -1e9
    swept: float = -1e9
    again: MeasuringAgain = field(init=False)

    def __post_init__(self) -> None:
        self.again = MeasuringAgain(self.store, self.pool, self.settings, self.identity, self.watchdog, self.stop)
        lease = self.settings.lease_seconds
        self.failures = Failures(self.store, lease, self.provenance, self.tally)
        self.shapes, self.commits = Shapes(self.store), Committer(self.store, lease)
        self.dividing = Dividing(self.pool, self.shapes)
        self.holding = Holding(self.store, self.identity, self.settings.lease_seconds)
        self.sharing = Sharing(self.store, self.identity, self.settings, cluster_of(self.settings))
        self.searches = Searches(self.store, self.settings)
        self.watch = Watch(self.store)

    def run(self) -> None:
        """Work until stopped."""
        try:
            while not self.stop.is_set():
                if not self.commits.stands_still(self.settings.stuck_seconds / 2):
                    self.watchdog.turn()
                self._guarded(self._turn)
        finally:
            self._hand_back()
            self.watch.close()

    def _turn(self) -> None:
        self._settle()
        self._beat()
        started = self._fill() or (self.searches.turn(self.ends) and self._fill())
        self._kill_overdue()
        if not self.pool.busy():
            if not started and not self.commits.is_busy():
                self.watch.wait(self.settings.idle_poll_seconds, self.stop)
            elif not started:
                # what ends may let a search go on
                self.commits.wait(self.settings.idle_poll_seconds)
            return
        if not self.commits.has_room():
            self.commits.wait(_READ_SECONDS)
            return
        for seat, read in self.pool.ready(_READ_SECONDS):
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
        """Have trainers for our part of the nodes that the cluster has now."""
        self.pool.follow(self.sharing.wanted())
        self.dividing.elsewhere = self.sharing.elsewhere
        self.failures.release_but({device for seat in self.pool.seats for device in MAY_HAVE[seat.device]})

    def _resources(self) -> dict[str, Any]:
        """Trainers, the stacks they run, and what has been done so far."""
        stacks = [
            {
                "stack": running.trials[0].stack_key[:12],
                "experiments": sorted({ids.experiment_id(trial.queued_for) for trial in running.trials}),
                "trials": len(running.open),
                "node": seat.about and seat.about["node"],
                "seconds": round(time.monotonic() - running.started, 1),
            }
            for seat, _, running in self._left()
        ]
        trainers = [seat.about for seat in self.pool.seats if seat.about]
        return self.sharing.told | {"trainers": trainers, "stacks": stacks, "counters": self.tally.as_counters()}

    def _held(self) -> list[Pair]:
        """Everything under our leases, what is on its way into the store included."""
        running = {pair for _, _, running in self._left() for pair in running.held}
        return [*running.union(self.commits.held()), *self.failures.held()]

    def _drop(self, pairs: frozenset[Pair]) -> None:
        """Stop every lane of these attempts, wherever it is."""
        if not pairs:
            return
        for seat, place, running in self._left():
            lanes = running.lanes_of(pairs)
            if lanes:
                running.drop(lanes)
                self.pool.stop_lanes(seat, place, lanes)
                log.info("lanes_dropped", **named([running.trials[lane] for lane in sorted(lanes)]))
        self.failures.drop(pairs)

    def _left(self) -> Iterator[tuple[Seat, int, Running]]:
        """Stacks of trials that trainers have and that have not ended: (trainer's seat, place, stack)."""
        for seat in self.pool.busy():
            if isinstance(seat.payload, Given):
                for place, running in seat.payload.left:
                    yield seat, place, running

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
        """Give an idle trainer trials; whether any wait for it."""
        again = self.failures.due(MAY_HAVE[seat.device], seat.place)
        stacks = [again] if again else self.dividing.chosen(seat, functools.partial(self._leased, seat))
        if stacks:
            self._start(seat, stacks)
            self.again.was_last = False
        return bool(stacks)

    def _leased(self, seat: Seat, devices: tuple[str, ...], but: frozenset[str]) -> list[list[Leased]]:
        return leases.lease_stacks(
            self.store,
            self.identity,
            lease_seconds=self.settings.lease_seconds,
            choose=functools.partial(self.dividing.lanes, seat),
            enough=functools.partial(self.dividing.enough, seat),
            more=functools.partial(self.dividing.more, seat),
            devices=devices,
            place=seat.place,
            but=but,
        )

    def _start(self, seat: Seat, stacks: Sequence[Sequence[Leased]]) -> None:
        everything = [trial for trials in stacks for trial in trials]
        arrays = datasets.arrays_for(self.store, [trial.settings for trial in everything])
        saved = checkpoints.checkpoints_of(self.store, [t.trial_id for t in everything if t.checkpoint_step >= 0])
        given = Given(tuple(Running(tuple(trials), seat.place, seat.device) for trials in stacks))
        sent = [Stack(tuple(lane_of(trial, saved) for trial in trials), arrays) for trials in stacks]
        self.pool.run(seat, sent, given, sum(map(self._allowed_seconds, stacks)))
        self.dividing.took(seat, given)
        self.tally.stacks += len(stacks)
        self.tally.lanes += len(everything)
        for trials in stacks:
            log.info("stack_started", **named(trials), node=seat.place.node, from_step=trials[0].checkpoint_step)

    def _allowed_seconds(self, trials: Sequence[Leased]) -> float:
        """How long a stack may send nothing."""
        first = trials[0].settings
        factor, deadline = self.settings.silence_factor, self.settings.step_deadline_seconds
        return allowed_seconds(first, self.shapes.of(first), len(trials), factor=factor, deadline=deadline)

    # -- what comes back --------------------------------------------------------------------------------------------

    def _receive(self, seat: Seat, read: Callable[[], tuple[Told, ...] | None]) -> None:
        try:
            heard = read()
        except TrainerDied as death:
            error = str(death) if death.is_node_lost else f"the trainer died: {death}"
            self._lost(seat, "trainer_died", str(death), error, is_node_lost=death.is_node_lost)
            return
        for told in heard or ():
            self._hear(seat, told)

    def _hear(self, seat: Seat, told: Told) -> None:
        given: Given | Measuring = seat.payload
        if isinstance(given, Measuring):
            if isinstance(told.what, Broken):
                self.pool.free(seat)
                self.again.failed(given, told.what.error, is_final=told.what.is_final)
            else:
                self.again.received(seat, told.what)
            return
        running = given.heard(told)
        if isinstance(told.what, Block):
            self._record(seat, running, told.what)
        if told.is_end and not given.left:
            self.pool.free(seat)
        if isinstance(told.what, Broken):
            self._failed(running, told.what)
        elif not given.left:
            # the trainer goes on while this is written
            self._guarded(self._fill)

    def _record(self, seat: Seat, running: Running, block: Block) -> None:
        """Have a block committed under its attempts' numbers."""
        running.counted(block)
        self.dividing.heard(seat, running, block)
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
        self.commits.send(running, block, report)
        running.sent(block)

    def _settle(self) -> None:
        """Note what has been written by now, and stop what turned out to be no longer ours."""
        for sent in self.commits.done():
            running = sent.running
            if sent.is_lost:
                # it may have been written all the same
                self.holding.doubt()
            else:
                self.tally.committed(sent.report, sent.seconds)
                running.committed(sent.block)
                self.ends += len(sent.block.ended)
            self._drop(sent.gone)
            # of a stack that is on no trainer any more
            running.drop(running.lanes_of(sent.gone))
            if sent.block.last:
                log.info("stack_ended", **named(running.trials), lane_steps=running.lane_steps, **running.spent())
                self._tell(running, "lost" if sent.is_lost else "ended")

    # -- failures ---------------------------------------------------------------------------------------------------

    def _kill_overdue(self) -> None:
        for seat in self.pool.overdue():
            reason = "the trainer stopped answering, or sent nothing for too long"
            self._lost(seat, "trainer_overdue", reason, reason)

    def _lost(self, seat: Seat, event: str, reason: str, error: str, *, is_node_lost: bool = False) -> None:
        """Have another trainer instead of one that is gone, and try again what it had.

        Args:
            seat: the trainer's.
            event: what the log calls it.
            reason: as the log has it.
            error: as its trials have it.
            is_node_lost: which says nothing about what it trained.
        """
        given: Given | Measuring = seat.payload
        left = [] if isinstance(given, Measuring) else [running for _, running in given.left]
        still = given.still if isinstance(given, Measuring) else [trial for running in left for trial in running.still]
        log.warning(event, reason=reason, **named(still), node=seat.place.node)
        self.pool.replace(seat)
        self.tally.trainers_replaced += 1
        if isinstance(given, Measuring):
            self.again.failed(given, error, charge=not is_node_lost)
        for running in left:
            if is_node_lost:
                self._interrupted(running, error)
            elif len(left) > 1:
                self._suspected(running, error)
            else:
                self._failed(running, Broken(error))

    def _failed(self, running: Running, broken: Broken) -> None:
        """Split what was running, or judge the trial that was alone."""
        self._finish_writing(running)
        self._tell(running, "failed", broken.error)
        if broken.is_checkpoint:
            self.failures.restarted(running, broken.error)
        else:
            self.failures.failed(running, broken.error, is_final=broken.is_final, refused=broken.refused)

    def _suspected(self, running: Running, error: str) -> None:
        """Try a stack again by itself that was given to a trainer together with others, one of which ended it."""
        self._finish_writing(running)
        self._tell(running, "failed", error)
        self.failures.suspected(running, error)

    def _interrupted(self, running: Running, error: str) -> None:
        """Try a stack again whose node was lost: whole, later, charged to nobody."""
        self._finish_writing(running)
        self._tell(running, "interrupted", error)
        self.failures.interrupted(running, error)

    def _tell(self, running: Running, outcome: str, error: str | None = None) -> None:
        if self.traces is not None:
            self.traces.stack_ended(running, outcome, error)

    def _finish_writing(self, running: Running) -> None:
        """Wait for a stack's blocks: what they ended is not tried again, and it goes on from their checkpoints."""
        while not self.commits.wait(_READ_SECONDS, running):
            if not self.commits.stands_still(self.settings.stuck_seconds / 2):
                self.watchdog.turn()
        self._settle()

    def _hand_back(self) -> None:
        """Requeue whatever is unfinished, uncharged."""
        self.commits.close(_CLOSING_SECONDS)
        held = self._held()
        for _, _, running in self._left():
            self._tell(running, "released")
        try:
            self.again.hand_back()
            if held:
                leases.release(self.store, held)
                log.info("handed_back", trials=len(held))
            cluster.remove_dispatcher(self.store, self.identity)
        except StoreUnavailable as error:
            log.warning("not_handed_back", error=error.detail, next="their leases run out by themselves")
        if self.traces is not None:
            self.traces.close(_TELLING_SECONDS)
