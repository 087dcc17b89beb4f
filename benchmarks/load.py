"""200 requests a second to the API for a minute while a sweep trains on every core: errors and latency, both databases.

    python benchmarks/load.py [--seconds 60] [--rate 200] [--only sqlite]

Five seconds of the same come first and are not counted: connections are opened then. Requests are sent when they are
due, whether or not earlier ones are answered: a slow answer is not excused by asking less. They are what pages,
watchers and notebooks ask, in turn: lists, an experiment, a page of trials (plain, filtered and sorted), a trial and
its series, group-by tables, curves, verdicts.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from dispatch import database
from timing import machine

from service.cli.local_service import running
from service.client import Client

GOAL_SECONDS = 0.25
_WARM_UP_SECONDS = 5.0
Question = tuple[str, dict[str, str]]
"""An address and its parameters."""


def grid(seeds: int, steps: int) -> dict[str, Any]:
    """Trials on two axes; as many steps as the time of the benchmark needs."""
    return {
        "name": f"{seeds} seeds of {steps} steps",
        "trial": {
            "data": {"samples": 64, "inputs": 16, "outputs": 4, "spectrum": [4, 3, 2, 1]},
            "network": {"depth": 3, "width": 32},
            "training": {"steps": steps},
            "measure": {"every": max(1, steps // 100)},
        },
        "axes": {"training.weight_decay": [0, 0.01, 0.1], "training.learning_rate": [0.003, 0.01, 0.03]},
        "seeds": seeds,
        "claims": [{"id": "aligned", "says": "they align", "metric": "alignment", "every_trial": ">= 0.1"}],
    }


def questions(ended: str, running_one: str, trial: str) -> list[Question]:
    """Addresses and parameters, asked one after the other."""
    two = "training.weight_decay,training.learning_rate"
    where = {"where": "training.weight_decay >= 0.01 and final.alignment > 0.2"}
    return [
        ("/experiments", {}),
        (f"/experiments/{running_one}", {}),
        (f"/experiments/{running_one}/trials", {}),
        (f"/experiments/{ended}/trials", where),
        (f"/trials/{trial}", {}),
        (f"/trials/{trial}/measurements", {"layer": "1"}),
        (f"/experiments/{ended}/results", {"group_by": two}),
        (f"/experiments/{ended}/trials", {"sort": "-final.alignment"}),
        (f"/experiments/{ended}/curves", {"group_by": "training.weight_decay"}),
        (f"/experiments/{ended}/verdicts", {}),
        (f"/experiments/{running_one}/results", {"group_by": two}),
        ("/cluster", {}),
    ]


def load(url: str, asked: list[Question], rate: float, seconds: float) -> dict[str, list[float]]:
    """Seconds of every request by address, from the moment it was due; an error ends the benchmark."""
    python = Path(os.environ.get("BENCHMARK_PYTHON", Path(__file__).parent / ".venv" / "bin" / "python"))
    if not python.exists():
        raise SystemExit("benchmarks/.venv is missing: benchmarks/requirements.txt says what it holds")
    command = [python, Path(__file__).with_name("load_client.py"), f"{url}/api/v1", str(rate), str(seconds)]
    found = json.loads(
        subprocess.run(command, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True).stdout
    )
    if found["errors"]:
        raise SystemExit(f"errors: {found['errors']}")
    return found["taken"]


def _measure(kind: str, home: Path, rate: float, seconds: float) -> None:
    with running(home, "127.0.0.1", 0, lambda _: None) as service, Client(service.url) as client:
        ended = client.submit(grid(20, 200)).id
        client.wait(ended)
        # a sweep that outlives the minute
        busy = client.submit(grid(400, 200_000)).id
        while not client.experiment(busy).counts.get("running"):
            time.sleep(0.1)
        trial = next(client.trials(ended)).id
        load(service.url, questions(ended, busy, trial), rate, _WARM_UP_SECONDS)
        taken = load(service.url, questions(ended, busy, trial), rate, seconds)
        left = client.experiment(busy)
        assert left.state == "running", "the sweep ended before the load did"
    every = np.concatenate([np.array(one) for one in taken.values()])
    p50, p99, worst = np.quantile(every, [0.5, 0.99, 1.0])
    goal = f"goal {1e3 * GOAL_SECONDS:.0f}{'' if p99 < GOAL_SECONDS else ', MISSED'}"
    print(f"\n{kind}: {len(every):,} answers in {seconds:g} s, no error, while {service.trainers} trainers trained")
    print(f"  p50 {1e3 * p50:.0f} ms, p99 {1e3 * p99:.0f} ms ({goal}), worst {1e3 * worst:.0f} ms")
    for address, one in taken.items():
        print(f"    {address:40} p50 {1e3 * np.median(one):6.1f} ms   p99 {1e3 * np.quantile(one, 0.99):6.1f} ms")


def main() -> None:
    """Print one table per database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    # one reader asks for all users here
    os.environ["NFA_REQUESTS_PER_SECOND"] = "1e6"
    print(machine())
    for kind in ("sqlite", "postgresql"):
        if chosen.only not in (None, kind):
            continue
        with (
            tempfile.TemporaryDirectory(prefix="nfa-") as home,
            tempfile.TemporaryDirectory(prefix="nfa-pg-") as data,
            database(kind, Path(data)),
        ):
            _measure(kind, Path(home), chosen.rate, chosen.seconds)


if __name__ == "__main__":
    main()
