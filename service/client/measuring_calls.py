"""The client's calls about weights that trials have kept: what to measure of them again."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from service.client.calls import Calls
from service.schemas.experiments import RemeasurementBody

_OPEN = ("queued", "running")


class MeasuringCalls(Calls):
    """The part of the client that has kept weights measured."""

    def measure(
        self,
        experiment: str,
        metrics: Sequence[str] | str = (),
        *,
        layers: Sequence[int | str] | Literal["first", "all"] | None = None,
        exponents: Sequence[float] = (),
        at: Sequence[int] | Literal["all", "final"] = "all",
        inputs: Sequence[str | Mapping[str, Any]] = ("train",),
    ) -> RemeasurementBody:
        """Have the weights that its trials kept measured, without training; the answer lists what keeps none.

        Args:
            experiment: its id.
            metrics: ids, or `default` or `all`; members of families as agop_singular_value@1.
            layers: numbers and names; None: those that each trial measures.
            exponents: for alignment@a.
            at: of the kept steps all, each trial's final one, or these.
            inputs: over which the AGOP is averaged: train, test, {"dataset": id}, {"probes": n, "seed": 0, "scale": 1}.
        """
        body: dict[str, Any] = {
            "metrics": metrics if metrics in ("default", "all") else _listed(metrics),
            "exponents": list(exponents),
            "at": at if isinstance(at, str) else list(at),
            "inputs": [one if isinstance(one, str) else dict(one) for one in inputs],
        }
        if layers is not None:
            body["layers"] = layers if isinstance(layers, str) else list(layers)
        return RemeasurementBody.model_validate(self._send("POST", f"/experiments/{experiment}/measure", body))

    def remeasurements(self, experiment: str) -> list[RemeasurementBody]:
        """What was asked of its kept weights so far, and how far that is."""
        found = self._call("GET", f"/experiments/{experiment}/measure")
        return [RemeasurementBody.model_validate(item) for item in found["items"]]

    def wait_measured(
        self, experiment: str, *, timeout_seconds: float | None = None, poll_seconds: float = 0.5
    ) -> list[RemeasurementBody]:
        """Wait until nothing of its kept weights waits to be measured, and answer the requests.

        Raises:
            TimeoutError: it had not ended in time; it goes on.
        """
        start = time.monotonic()
        while True:
            found = self.remeasurements(experiment)
            if not any(one.counts.get(state) for one in found for state in _OPEN):
                return found
            if timeout_seconds is not None and time.monotonic() - start > timeout_seconds:
                raise TimeoutError(
                    f"weights of {experiment} are still measured after {timeout_seconds:g} s; it goes on"
                )
            self._transport.sleep(poll_seconds)


def _listed(names: Sequence[str] | str) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
