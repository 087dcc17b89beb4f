"""The store as plain dictionaries: trials and experiments, and what a dispatcher believes to hold."""

from dataclasses import dataclass, field

from service.store.leases import Leased


@dataclass
class Trial:
    """What must be known of a trial."""

    state: str = "queued"
    attempt: int = 0
    failures: int = 0
    rows: set[int] = field(default_factory=set)


@dataclass
class Experiment:
    """Which seeds it links, which of them it wants, and whether it is paused."""

    seeds: frozenset[int]
    wanted: set[int]
    paused: bool = False


@dataclass
class Held:
    """A trial that a dispatcher believes to hold, and the last step that it has reported."""

    trial: Trial
    leased: Leased
    step: int = -1
    given_up: bool = False
    """By a call of its holder's."""

    @property
    def pair(self) -> tuple[int, int]:
        """(trial id, attempt)."""
        return self.leased.trial_id, self.leased.attempt


class Model:
    """Trials by seed and experiments by name."""

    def __init__(self) -> None:
        self.trials: dict[int, Trial] = {}
        self.experiments: dict[str, Experiment] = {}

    def wanting(self, seed: int) -> list[Experiment]:
        """Experiments that want a trial."""
        return [one for one in self.experiments.values() if seed in one.wanted]

    def may_run(self) -> set[int]:
        """Trials that may be leased."""
        return {
            seed
            for seed, one in self.trials.items()
            if one.state == "queued" and any(not e.paused for e in self.wanting(seed))
        }

    def is_cancelled(self, seed: int) -> bool:
        """Whether nobody wants a trial."""
        return self.trials[seed].state == "cancelled"

    def settle(self, name: str) -> None:
        """What follows from a change of an experiment."""
        for seed in self.experiments[name].seeds:
            one = self.trials[seed]
            if one.state in ("queued", "running"):
                if not self.wanting(seed):
                    one.state = "cancelled"
                elif one.state == "running" and all(e.paused for e in self.wanting(seed)):
                    one.state = "queued"

    def holds(self, held: Held) -> bool:
        """Whether a dispatcher still holds what it believes to hold."""
        # a trial that was deleted and submitted again is another one
        is_there = self.trials.get(held.leased.seed) is held.trial
        return is_there and held.trial.state == "running" and held.trial.attempt == held.leased.attempt

    def again(self, seed: int) -> None:
        """Run it again as if it were new, except for the attempt's number."""
        one = self.trials[seed]
        one.state, one.failures = "queued", 0

    def pause_or_resume(self, name: str, *, paused: bool) -> None:
        """Let it have nothing run, or let it go on; pausing what has ended changes nothing."""
        made = self.experiments[name]
        if not paused or any(self.trials[seed].state in ("queued", "running") for seed in made.wanted):
            made.paused = paused
        self.settle(name)

    def cancel(self, name: str) -> None:
        """Want nothing unfinished any more."""
        made = self.experiments[name]
        made.wanted -= {seed for seed in made.wanted if self.trials[seed].state in ("queued", "running")}
        self.settle(name)
