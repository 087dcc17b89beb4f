"""What asking for more costs beside training all of it: training longer, from where trials ended.

    python benchmarks/again.py [--trials 150] [--steps 6000] [--rounds 3]

Through the service, on every core, by turns with other seeds in each round: trials of twice the steps from the
beginning; trials of the steps that keep their state; and these extended to twice the steps. Seconds from the call to
the last row in the store.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.cli.local_service import running
from service.client import Client
from service.states import TrialState

DECAYS = [0.0, 0.01, 0.03, 0.1, 0.3]


def grid(steps: int, seeds: list[int], *, keep: bool) -> dict[str, Any]:
    """Trials of these seeds at five weight decays."""
    training = {"steps": steps, "learning_rate": 0.01, "dtype": "float64"} | ({"keep": "state"} if keep else {})
    settings = {
        "data": {"samples": 200, "inputs": 16, "outputs": 4},
        "network": {"depth": 3, "width": 16},
        "training": training,
        "measure": {"every": 100},
    }
    return {"name": "longer", "trial": settings, "axes": {"training.weight_decay": DECAYS}, "seeds": seeds}


def seconds(client: Client, ask: Callable[[], Any], trials: int) -> float:
    """From the call until so many trials of the experiment have completed."""
    began = time.time()
    ended = client.wait(ask().id, poll_seconds=0.5)
    assert ended.counts[TrialState.COMPLETED] == trials, ended.counts
    # committed with each trial's last row
    return max(one.ended_at.timestamp() for one in client.trials(ended.id) if one.ended_at) - began


def longer(client: Client, trials: int, steps: int, rounds: int) -> float:
    """Print each round; the share of the time from the beginning that going on takes."""
    each = trials // len(DECAYS)
    whole, rest = 0.0, 0.0
    client.wait(client.submit(grid(200, [10**6], keep=False)).id, poll_seconds=0.1)
    for number in range(rounds):
        seeds = list(range(number * each, (number + 1) * each))
        others = [10_000 + seed for seed in seeds]
        zero = seconds(client, lambda seeds=others: client.submit(grid(2 * steps, seeds, keep=False)), trials)
        made = client.submit(grid(steps, seeds, keep=True))
        first = seconds(client, lambda made=made: made, trials)
        second = seconds(client, lambda one=made.id: client.extend(one, steps=2 * steps), 2 * trials)
        print(f"  {2 * steps} steps {zero:6.2f} s; {steps} steps {first:6.2f} s, then to {2 * steps} {second:6.2f} s")
        whole, rest = whole + zero, rest + second
    return rest / whole


def main() -> None:
    """Print what going on costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=150, help="a multiple of 5")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as home,
        running(Path(home), "127.0.0.1", 0, lambda _: None) as service,
        Client(service.url) as client,
    ):
        print(f"train longer, {chosen.trials} trials")
        share = longer(client, chosen.trials, chosen.steps, chosen.rounds)
        print(f"  going on takes {share:.2f} of training from the beginning")


if __name__ == "__main__":
    main()
