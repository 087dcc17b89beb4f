"""Lets experiments that search go on: when an idle trainer finds nothing that waits, their next rounds are added."""

import time
from dataclasses import dataclass, field

import structlog

from service.errors import TooMany
from service.grid.fitting import Limits
from service.store import rounds
from service.store.session import Store
from workers.settings import WorkerSettings

log = structlog.get_logger()


@dataclass
class Searches:
    """Looks for what to add, as often as an idle dispatcher looks for work."""

    store: Store
    settings: WorkerSettings
    looked: float = -1e9
    ends: int = 0
    """When it looked last."""
    waits: str = ""
    """Why a round was not added the last time."""
    plans: rounds.Plans = field(init=False)

    def __post_init__(self) -> None:
        self.plans = rounds.Plans(self.store, Limits(trials_per_experiment=self.settings.max_trials))

    def turn(self, ends: int) -> bool:
        """Add the next round of every experiment whose trials have ended; whether there was any.

        Args:
            ends: trials that this dispatcher has seen end; when there are more, it looks however short ago it did.
        """
        now = time.monotonic()
        if ends == self.ends and now - self.looked < self.settings.idle_poll_seconds:
            return False
        self.ends = ends
        self.looked, adding = now, self.plans.adding_seconds
        try:
            added = rounds.add_rounds(self.store, self.plans.limits, self.settings.max_queued, self.plans)
        except TooMany as error:
            if error.detail != self.waits:
                log.warning("round_waits", reason=error.detail)
            self.waits = error.detail
            return False
        self.waits = ""
        if added:
            spent = round(time.monotonic() - now, 4)
            adding = round(self.plans.adding_seconds - adding, 4)
            log.info("round_added", trials=added, seconds=spent, adding_seconds=adding)
        return added > 0
