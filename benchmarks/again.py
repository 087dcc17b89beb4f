"""What asking for more costs beside training all of it: training longer, from where trials ended, and new metrics.

    python benchmarks/again.py [--part longer|measure] [--rounds 3] [--trials 150] [--steps 6000]
                               [--networks 1000]

Through the service, on every core, by turns with other seeds in each round: trials of twice the steps from the
beginning; trials of the steps that keep their state; and these extended to twice the steps. Seconds from the call to
the last row in the store, and of processor time that all processes of the service took, which neighbours on the machine
disturb less. New metrics on kept weights: measured_again.py.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measured_again import STEPS, measured_again
from taken import Took, cpu, share

from service.cli.local_service import running
from service.client import Client
from service.states import TrialState

DECAYS = [0.0, 0.01, 0.03, 0.1, 0.3]


def grid(steps: int, seeds: list[int], *, keep: bool) -> dict[str, Any]:
    """Trials of these seeds at five weight decays."""
    training = {"steps": steps, "learning_rate": 0.01, "dtype": "float64"} | ({"keep": "state"} if keep else {})
    settings = {
        "data": {"samples": 200, "inputs": 16, "outputs": 4},
        "network": {"depth": 3, "width": 32},
        "training": training,
        "measure": {"every": 100},
    }
    return {"name": "longer", "trial": settings, "axes": {"training.weight_decay": DECAYS}, "seeds": seeds}


def took(client: Client, ask: Callable[[], Any], trials: int) -> Took:
    """From the call until so many trials of the experiment have completed."""
    began, used = time.time(), cpu()
    ended = client.wait(ask().id, poll_seconds=2.0)
    used = cpu() - used
    assert ended.counts[TrialState.COMPLETED] == trials, ended.counts
    # committed with each trial's last row
    wall = max(one.ended_at.timestamp() for one in client.trials(ended.id) if one.ended_at) - began
    return Took(wall, used)


def longer(client: Client, trials: int, steps: int, rounds: int) -> Took:
    """Print each round; the shares of the time from the beginning that going on takes."""
    each = trials // len(DECAYS)
    whole, rest = [], []
    client.wait(client.submit(grid(200, [10**6], keep=False)).id, poll_seconds=0.1)
    for number in range(rounds):
        seeds = list(range(number * each, (number + 1) * each))
        others = [10_000 + seed for seed in seeds]
        zero = took(client, lambda seeds=others: client.submit(grid(2 * steps, seeds, keep=False)), trials)
        first = took(client, lambda seeds=seeds: client.submit(grid(steps, seeds, keep=True)), trials)
        made = next(iter(client.experiments()))
        second = took(client, lambda one=made.id: client.extend(one, steps=2 * steps), 2 * trials)
        parts = (f"{2 * steps} steps", zero), (f"{steps} steps", first), (f"then to {2 * steps}", second)
        print("  " + "; ".join(f"{what} {one.wall:.2f} s, cpu {one.cpu:.2f}" for what, one in parts), flush=True)
        whole.append(zero)
        rest.append(second)
    return share(rest, whole)


def main() -> None:
    """Print what going on costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["longer", "measure"], help="default: both")
    parser.add_argument("--networks", type=int, default=1000, help="whose kept weights are measured; a multiple of 5")
    parser.add_argument("--trials", type=int, default=150, help="a multiple of 5")
    parser.add_argument("--steps", type=int, default=6000, help="of the shorter trials")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as home,
        running(Path(home), "127.0.0.1", 0, lambda _: None) as service,
        Client(service.url) as client,
    ):
        if chosen.part != "measure":
            print(f"train longer, {chosen.trials} trials")
            part = longer(client, chosen.trials, chosen.steps, chosen.rounds)
            print(f"  going on takes {part.wall:.2f} of training from the beginning, of processor time {part.cpu:.2f}")
        if chosen.part != "longer":
            print(f"measure again, {chosen.networks} networks")
            for activation, steps in STEPS.items():
                part = measured_again(client, activation, chosen.networks, steps, chosen.rounds)
                said = f"{part.wall:.3f} of training them, of processor time {part.cpu:.3f}"
                print(f"  a new metric of {activation} networks takes {said}", flush=True)


if __name__ == "__main__":
    main()
