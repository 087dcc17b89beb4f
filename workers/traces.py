"""What a dispatcher tells of the stacks that it ran: one span for each experiment that a stack trained for."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from service.otlp import read_headers
from service.store import ids
from service.store.leases import Leased
from service.store.session import Store
from service.tracing.receiver import Receiver
from service.tracing.sending import Sender
from service.tracing.spans import ROOT, Span, Value, ids_of
from workers.running import Running
from workers.settings import WorkerSettings

_FAILURES: Final = {"failed": "failed", "interrupted": "interrupted", "lost": "what it measured could not be written"}
"""Outcomes that are errors, and what is said of one without a reason of its own."""


@dataclass(frozen=True)
class Traces:
    """Tells a receiver; returns at once, whoever is away."""

    store: Store
    sender: Sender

    def stack_ended(self, running: Running, outcome: str, error: str | None = None) -> None:
        """Tell of a stack that is on its trainer no more.

        Args:
            running: the stack.
            outcome: ended, failed (its trainer died, raised or got nowhere), interrupted (its node was lost), lost (the
                store was away too long) or released (its dispatcher stops).
            error: why, of those that did not end by themselves.
        """
        ended = time.time_ns()
        began = ended - round((time.monotonic() - running.started) * 1e9)
        self.sender.put(stack_spans(self.store.incarnation, running, began, ended, outcome, error))

    def close(self, seconds: float) -> None:
        """Send what waits, at most so long."""
        self.sender.close(seconds)


def traces_of(settings: WorkerSettings, store: Store) -> Traces | None:
    """What tells of stacks, where there is somebody to tell."""
    if settings.otlp_endpoint is None:
        return None
    return Traces(store, Sender(Receiver(settings.otlp_endpoint, read_headers(settings.otlp_headers), "dispatcher")))


def stack_spans(
    life: str | None, running: Running, began: int, ended: int, outcome: str, error: str | None
) -> list[Span]:
    """The spans of a stack, each in the trace of an experiment that it trained for. Times in nanoseconds since 1970."""
    by_experiment: dict[int, list[Leased]] = {}
    for trial in running.trials:
        by_experiment.setdefault(trial.queued_for, []).append(trial)
    about = _about(running, outcome)
    return [
        Span(
            "stack",
            # no other stack has this attempt
            ids_of(life, number, f"stack {trials[0].trial_id} {trials[0].attempt}"),
            ids_of(life, number, ROOT).span,
            began,
            ended,
            about | {"nfa.experiment": ids.experiment_id(number), "nfa.trials": len(trials)},
            error=error or _FAILURES[outcome] if outcome in _FAILURES else None,
        )
        for number, trials in by_experiment.items()
    ]


def _about(running: Running, outcome: str) -> dict[str, Value]:
    first, spent = running.trials[0], running.spent()
    states = Counter(running.ends.values())
    return {
        "nfa.stack": first.stack_key[:12],
        "nfa.outcome": outcome,
        "nfa.lanes": len(running.trials),
        "nfa.device": running.device,
        "nfa.node": running.place.node,
        "nfa.host": running.place.host,
        "nfa.attempt": max(trial.attempt for trial in running.trials),
        "nfa.lane_steps": running.lane_steps,
        "nfa.training_seconds": spent["training_seconds"],
        "nfa.measuring_seconds": spent["measuring_seconds"],
        **{f"nfa.lanes.{state}": count for state, count in states.items()},
    }
