"""How work grows with trainers and nodes: those that sleep show the dispatcher's share, those that train the machine's.

    python benchmarks/scale.py [--quick] [--many]

A sleeping trainer waits a quarter of a second before each stack of one trial without work, so any number of them fit
on two cores: used is the share of their time that they slept, idle what one waited between two stacks. With --many one
process speaks for all trainers, up to a thousand of them (many_trainers.py).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.grid.expansion import expand
from service.logs import log_as_json_lines
from service.states import ENDED
from service.store import schema, submissions
from service.store.cluster import list_dispatchers
from service.store.experiments import get_experiment
from service.store.session import Store, open_store
from service.store.trials import list_trials

SLEEP_SECONDS = 0.25
STACKS_EACH = 24
_PATIENCE_SECONDS = 120.0


def without_work(stacks: int, first: int = 1) -> dict[str, Any]:
    """Trials without work that cannot share a stack: each has a width of its own."""
    return {
        "name": "without work",
        "trial": {
            "data": {"samples": 1, "inputs": 1, "outputs": 1, "spectrum": [1]},
            "network": {"depth": 2},
            "training": {"steps": 1},
            "measure": {"every": 1, "metrics": ["train_loss"]},
        },
        "axes": {"network.width": list(range(first, first + stacks))},
    }


def real(trials: int) -> dict[str, Any]:
    """The linear sweep of benchmarks/sweep.py."""
    return {
        "name": "linear",
        "trial": {
            "data": {"samples": 256, "inputs": 32, "outputs": 4, "spectrum": [1, 1, 1, 1]},
            "network": {"depth": 3, "width": 64},
            "training": {"steps": 2000, "weight_decay": 0.01, "dtype": "float32"},
            "measure": {"every": 10, "metrics": ["train_loss", "alignment"]},
        },
        "seeds": trials,
    }


def dispatch() -> int:
    """A dispatcher whose trainers sleep before each stack."""
    from workers.environment import prepare
    from workers.settings import WorkerSettings

    log_as_json_lines()
    settings = WorkerSettings()
    # Ray reads its environment while it is imported
    prepare(settings.token_path, settings.ray_address)
    from workers import trainer
    from workers.blocks import Block, Broken, Stack
    from workers.run import run

    class Sleeping(trainer.Trainer):
        def _trained(
            self, place: int, stack: Stack, block_seconds: float, checkpoint_seconds: float
        ) -> Iterator[Block | Broken]:
            time.sleep(SLEEP_SECONDS)
            yield from super()._trained(place, stack, block_seconds, checkpoint_seconds)

    vars(trainer)["Trainer"] = Sleeping
    return run(settings, threading.Event())


@contextmanager
def dispatcher(home: Path, trainers: int, *, sleeping: bool, ray: dict[str, str]) -> Generator[Store]:
    """A fresh store and a dispatcher with so many trainers that are up."""
    url = f"sqlite:///{home / 'nfa.db'}"
    settings = {"NFA_HOME": str(home), "NFA_DATABASE_URL": url, "NFA_TRAINERS": str(trainers), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--dispatch"] if sleeping else [sys.executable, "-m", "workers"]
    with open_store(url) as store, (home / "dispatcher.log").open("wb") as log:
        schema.upgrade(store)
        process = subprocess.Popen(command, env=os.environ | settings | ray, stdout=log, stderr=log)
        try:
            _until(lambda: [one.slots for one in list_dispatchers(store)] == [trainers], home)
            yield store
        finally:
            process.terminate()
            process.wait(30)


def finish(store: Store, home: Path, document: dict[str, Any]) -> tuple[float, float]:
    """Seconds from a submission to its last trial's end, and to its first trial's start."""
    began = time.perf_counter()
    made = submissions.create_experiment(store, expand(document))
    _until(lambda: sum(get_experiment(store, made.id).counts[state] for state in ENDED) == made.total, home)
    seconds = time.perf_counter() - began
    trials, _ = list_trials(store, made.id, state=None, where="", sort=None, limit=made.total, after=None)
    waits = [(one.row.started_at - one.row.created_at).total_seconds() for one in trials if one.row.started_at]
    assert len(waits) == made.total
    return seconds, min(waits)


def _until(is_so: Any, home: Path) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit(f"nothing happened for too long:\n{(home / 'dispatcher.log').read_text()[-2000:]}")
        time.sleep(0.02)


@contextmanager
def cluster(nodes: int, cpus: int) -> Generator[dict[str, str]]:
    """A Ray head without CPUs and some nodes, as processes of this machine; the environment of who joins it."""
    with tempfile.TemporaryDirectory(prefix="nfa-", dir="/tmp") as folder:
        from workers.environment import prepare, ray_token

        token = ray_token(Path(folder) / "token")
        prepare(token)
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(nodes):
            made.add_node(num_cpus=cpus)
        try:
            yield {"NFA_RAY_ADDRESS": made.address, "NFA_RAY_TOKEN_PATH": str(token)}
        finally:
            made.shutdown()


def sleepers(trainers: int, ray: dict[str, str], place: str) -> None:
    """One line about sleeping trainers."""
    stacks = STACKS_EACH * trainers
    with (
        tempfile.TemporaryDirectory(prefix="nfa-") as home,
        dispatcher(Path(home), trainers, sleeping=True, ray=ray) as store,
    ):
        # all trainers are up after this
        finish(store, Path(home), without_work(2 * trainers, 1 + stacks))
        seconds, first = finish(store, Path(home), without_work(stacks))
    slept = stacks * SLEEP_SECONDS
    idle = (trainers * seconds - slept) / stacks
    print(
        f"{trainers:10}  {place:22}{stacks:8}{seconds:9.2f} s{slept / trainers / seconds:8.0%}{1e3 * idle:9.0f} ms"
        f"{1e3 * first:9.0f} ms",
        flush=True,
    )


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer trainers and trials")
    parser.add_argument("--many", action="store_true", help="the store's share with many trainers, and nothing else")
    parser.add_argument("--dispatch", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.dispatch:
        sys.exit(dispatch())
    from timing import machine

    print(machine())
    if chosen.many:
        import many_trainers

        many_trainers.measure(is_quick=chosen.quick)
        return
    print("\nsleeping trainers, where         stacks     wall    used     idle  first trial starts after")
    for trainers in (1, 4) if chosen.quick else (1, 2, 4, 8):
        sleepers(trainers, {}, "this machine's Ray")
    with cluster(4, 2) as ray:
        sleepers(8, ray, "4 Ray nodes of 2 CPUs")
    trials = 256 if chosen.quick else 1024
    print(f"\ntrainers that train, {trials} trials of the linear sweep on {os.cpu_count()} cores")
    alone = 0.0
    for trainers in (1, 2, 4):
        with (
            tempfile.TemporaryDirectory(prefix="nfa-") as home,
            dispatcher(Path(home), trainers, sleeping=False, ray={}) as store,
        ):
            finish(store, Path(home), real(8) | {"seeds": [10**6 + number for number in range(8)]})
            seconds, _ = finish(store, Path(home), real(trials))
        alone = alone or seconds
        print(f"{trainers:10}  {trials / seconds:8.0f} trials/s {alone / seconds:6.2f}x", flush=True)


if __name__ == "__main__":
    main()
