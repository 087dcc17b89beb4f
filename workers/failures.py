"""What is tried again: stacks whose trainer died or raised, whose node was lost, whose checkpoints cannot be read."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from service.store import leases, reports
from service.store.attempts import Place, place_attempts
from service.store.holders import Pair
from service.store.leases import Leased
from service.store.reports import End
from service.store.session import Store
from workers.recovery import INTERRUPTIONS, Decision, after_failure, backoff_seconds
from workers.running import Running, named
from workers.tally import Tally

log = structlog.get_logger()


@dataclass
class Failures:
    """Judges what failed, and keeps the stacks that are to be tried again until it is time."""

    store: Store
    lease_seconds: float
    provenance: Mapping[str, Any]
    tally: Tally
    retries: list[tuple[float, tuple[Leased, ...]]] = field(default_factory=list)
    """Stacks to try again, each with the monotonic time from which on."""

    def held(self) -> list[Pair]:
        """(trial id, attempt) of what waits to be tried again."""
        return [trial.held for _, trials in self.retries for trial in trials]

    def drop(self, pairs: Collection[Pair]) -> None:
        """Forget attempts that are no longer ours."""
        left = [(due, tuple(trial for trial in part if trial.held not in pairs)) for due, part in self.retries]
        self.retries = [(due, part) for due, part in left if part]

    def release_but(self, served: Collection[str]) -> None:
        """Hand back what waits for a device that no trainer of ours has now; others may have such trainers."""
        lost = [part for _, part in self.retries if part[0].device not in served]
        if lost:
            leases.release(self.store, [trial.held for part in lost for trial in part])
            self.retries = [(due, part) for due, part in self.retries if part not in lost]

    def due(self, devices: Collection[str], place: Place) -> tuple[Leased, ...]:
        """A stack that is to be tried again now, by a trainer that may have these devices; none if there is none."""
        now = time.monotonic()
        for index, (due, trials) in enumerate(self.retries):
            if due <= now and trials[0].device in devices:
                place_attempts(self.store, [trial.held for trial in trials], place)
                del self.retries[index]
                return trials
        return ()

    def failed(self, running: Running, error: str, *, is_final: bool, refused: Mapping[int, str] | None = None) -> None:
        """Split what was running, or judge the trial that was alone.

        Args:
            running: the stack.
            error: why.
            is_final: it would happen again to the trial that is to blame, which ends without another try.
            refused: lane -> error, of lanes that are known to fail by themselves: they end, the rest stays together.
        """
        known = {lane: why for lane, why in (refused or {}).items() if lane in running.open}
        for lane, why in known.items():
            self._end(running.trials[lane], why)
        running.open -= known.keys()
        lanes = sorted(running.open)
        if not lanes:
            return
        first = running.trials[lanes[0]]
        decision = after_failure(lanes, first.failures, is_final)
        if known:
            decision = Decision((tuple(lanes),), is_charged=False)
        if not decision.parts:
            self._end(first, error)
            return
        delay = backoff_seconds(first.failures) if decision.is_charged else 0.0
        for part in decision.parts:
            for trials in _by_step([running.trials[lane] for lane in part]):
                self._later(self._again(trials, charge=decision.is_charged, error=error), delay)

    def suspected(self, running: Running, error: str) -> None:
        """Try a stack again by itself, since it, or another that its trainer was given with it, ended the trainer."""
        for trials in _by_step(running.still):
            self._later(self._again(trials, charge=False, error=error), 0.0)

    def interrupted(self, running: Running, error: str) -> None:
        """Try a stack again whose node was lost: whole, later, charged to nobody."""
        again = [trial for trial in running.still if trial.interruptions < INTERRUPTIONS]
        for trial in running.still:
            if trial not in again:
                self._end(trial, f"interrupted too often, last: {error}", charge=False)
        for trials in _by_step(again):
            delay = backoff_seconds(max(trial.interruptions for trial in trials))
            self._later(self._again(trials, charge=False, error=error, lost=True), delay)

    def restarted(self, running: Running, error: str) -> None:
        """Try a stack again from the beginning, whose checkpoints could not be read."""
        log.warning("checkpoints_dropped", error=error, **named(running.still))
        again = self._again(running.still, charge=False, error=error, afresh=True)
        self._later(tuple(one._replace(checkpoint_step=-1, continued_from=None) for one in again), 0.0)

    def _end(self, trial: Leased, error: str, *, charge: bool = True) -> None:
        end = End(trial.trial_id, "failed", None, error, {**self.provenance})
        reports.fail(self.store, trial.trial_id, trial.attempt, end, charge=charge)
        log.error("trial_failed", error=error, **named([trial]))

    def _later(self, trials: tuple[Leased, ...], delay: float) -> None:
        if trials:
            self.tally.stacks_retried += 1
            self.retries.append((time.monotonic() + delay, trials))

    def _again(self, trials: Sequence[Leased], *, error: str, lost: bool = False, **how: bool) -> tuple[Leased, ...]:
        """The same trials under new attempt numbers, less those that are no longer ours; see `leases.restart`."""
        held = [trial.held for trial in trials]
        attempts = leases.restart(self.store, held, self.lease_seconds, error=error, lost=lost, **how)
        return tuple(
            trial._replace(
                attempt=attempts[trial.trial_id],
                failures=trial.failures + int(how["charge"]),
                interruptions=trial.interruptions + int(lost),
            )
            for trial in trials
            if trial.trial_id in attempts
        )


def _by_step(trials: Sequence[Leased]) -> list[list[Leased]]:
    """Those that go on from one step; a stack whose checkpoints came in parts may have had some of them written."""
    groups: dict[int, list[Leased]] = {}
    for trial in trials:
        groups.setdefault(trial.checkpoint_step, []).append(trial)
    return list(groups.values())
