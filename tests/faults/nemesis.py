"""A sweep under fire: faults at random moments, then judgement by the history checker."""

import functools
import io
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from comparison import undisturbed
from deployment import Deployment
from history import Final, History, violations
from processes import wait_until

from service.grid.expansion import expand
from service.schemas.experiments import ExperimentDetail
from service.states import TrialState

FAULTS = ("trainer", "dispatcher", "api", "raylet", "database")


def sweep(steps: int, seeds: int) -> dict[str, Any]:
    """Six shapes times `seeds` trials."""
    return {
        "name": "under fire",
        "trial": {
            "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
            "training": {"steps": steps, "learning_rate": 0.01},
            "measure": {"every": steps // 60, "layers": [1]},
        },
        "axes": {"network.depth": [2, 3], "network.width": [4, 5, 6]},
        "seeds": seeds,
    }


def side(number: int) -> dict[str, Any]:
    """A small sweep that comes while the other one runs; its stacks are given to trainers several at a time."""
    grid = sweep(3000, 1) | {"name": f"meanwhile {number}", "seeds": [1000 + number]}
    return grid | {"axes": {"network.depth": [2, 3], "network.width": [4, 5, 6, 7, 8, 9]}}


class Nemesis:
    """Submits, breaks things, and asks for what became of it.

    Args:
        deployment: what it happens to; started.
        grid: the sweep.
        faults: names of what may happen, each the end of a method of Deployment.
        pause: least and most seconds between two faults.
    """

    def __init__(self, deployment: Deployment, grid: dict[str, Any], faults: Sequence[str], pause: tuple[float, float]):
        self.deployment, self.client, self.grid = deployment, deployment.client, grid
        self.faults, self.pause = faults, pause
        self.history = History()
        self.done: list[str] = []
        self.seen: list[ExperimentDetail] = []

    def submit(self, grid: dict[str, Any], key: str) -> str:
        """Submit, repeated with the same key until acknowledged."""
        made = self.client.submit(grid, idempotency_key=key).id
        assert self.history.submitted.setdefault(made, expand(grid)).grid.name == grid["name"]
        return made

    def run(self, rounds: int) -> None:
        """Submit the sweep, let `rounds` faults happen, and wait until everything has ended."""
        main = self.submit(self.grid, "the sweep")
        wait_until(lambda: self.client.experiment(main).counts[TrialState.RUNNING])
        at_work = main
        for number in range(rounds):
            time.sleep(random.uniform(*self.pause))
            self.deployment.tend()
            if self.client.experiment(at_work).progress == 1.0:
                # faults are for a service at work
                seeds = self.grid["seeds"]
                more = {"seeds": list(range(seeds * (number + 1), seeds * (number + 2)))}
                at_work = self.submit(self.grid | more, f"the sweep again {number}")
            fault = self.faults[number % len(self.faults)]
            self.done.append(f"{fault} {getattr(self.deployment, fault_method(fault))()}".strip())
            self.deployment.tend()
            other = self.submit(side(number), f"side {number}")
            assert self.submit(self.grid, "the sweep") == main
            if number % 2:
                self.client.cancel(other)
                self.history.cancelled.add(other)
        wait_until(self._is_over, grown=lambda: sum(one.progress for one in self.seen))

    def _is_over(self) -> bool:
        self.deployment.tend()
        self.seen = [self.client.experiment(name) for name in self.history.submitted]
        return all(one.progress == 1.0 for one in self.seen)

    def final(self) -> dict[str, Final]:
        """What the service says in the end."""
        found = {}
        for name in self.history.submitted:
            trials = [self.client.trial(one.id) for one in self.client.trials(name)]
            file = Path(self.deployment.folder) / f"{name}.parquet"
            self.client.export(name, file)
            columns = ["trial_id", "step", "layer", "alignment"]
            found[name] = Final(trials, pl.read_parquet(io.BytesIO(file.read_bytes()), columns=columns))
        return found

    def violations(self) -> list[str]:
        """Everything that went wrong."""
        return violations(self.history, self.final(), _undisturbed(json.dumps(self.grid)))


@functools.cache
def _undisturbed(grid: str) -> dict[str, dict[int, float]]:
    return undisturbed(expand(json.loads(grid)))


def fault_method(fault: str) -> str:
    """The method of Deployment that lets a fault happen."""
    return "pause_dispatcher" if fault == "pause" else f"kill_{fault}"
