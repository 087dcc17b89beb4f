"""The client's calls about where an experiment stands: now, and once it has ended."""

import time
from collections.abc import Callable
from typing import Final

from service.client.calls import Calls
from service.client.transport import Unreachable
from service.schemas.experiments import ExperimentDetail
from service.states import ExperimentState

DONE: Final = frozenset({ExperimentState.COMPLETED, ExperimentState.FAILED, ExperimentState.CANCELLED})
_RARELY_SECONDS: Final = 5.0
"""Between two looks at a sweep that has taken long: looking takes the time of the cores that train."""


def until_next_look(waited: float, poll_seconds: float) -> float:
    """Seconds until a sweep is looked at again, after having waited for so many."""
    return max(poll_seconds, min(waited / 50, _RARELY_SECONDS))


class WaitingCalls(Calls):
    """The part of the client that looks at an experiment."""

    def experiment(self, experiment: str) -> ExperimentDetail:
        """One experiment as it stands."""
        return ExperimentDetail.model_validate(self._call("GET", f"/experiments/{experiment}"))

    def wait(
        self,
        experiment: str,
        *,
        progress: Callable[[ExperimentDetail], None] | None = None,
        timeout_seconds: float | None = None,
        poll_seconds: float = 0.5,
        patience_seconds: float = 60.0,
    ) -> ExperimentDetail:
        """Wait until every trial has ended, and answer the experiment as it then stands.

        Args:
            experiment: its id.
            progress: called with every look at the experiment, the last one included.
            timeout_seconds: give up after this long; None: never.
            poll_seconds: least time between looks; a long wait looks less often, after a fiftieth of the time so far.
            patience_seconds: how long the service may be away meanwhile.
        Raises:
            TimeoutError: it had not ended in time; it goes on.
        """
        start = answered = time.monotonic()
        current: ExperimentDetail | None = None
        while True:
            try:
                current = self._looked_at(experiment, current)
            except Unreachable:
                if time.monotonic() - answered > patience_seconds:
                    raise
            else:
                answered = time.monotonic()
                if progress is not None:
                    progress(current)
                if current.state in DONE:
                    return current
            if timeout_seconds is not None and time.monotonic() - start > timeout_seconds:
                raise TimeoutError(f"experiment {experiment} has not ended within {timeout_seconds:g} s; it goes on")
            self._transport.sleep(until_next_look(time.monotonic() - start, poll_seconds))

    def _looked_at(self, experiment: str, before: ExperimentDetail | None) -> ExperimentDetail:
        """An experiment that is looked at often: its grid comes with the first look, and once more with the last."""
        if before is not None:
            found = self._call("GET", f"/experiments/{experiment}", params={"grid": "false"})
            current = ExperimentDetail.model_validate({**found, "grid": before.grid})
            if current.state not in DONE:
                return current
        return self.experiment(experiment)
