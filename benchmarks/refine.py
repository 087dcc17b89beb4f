"""What finding a place costs beside trying all places: a search against the uniform grid of the same resolution.

    python benchmarks/refine.py [--tolerance 0.005] [--times 5] [--quick]

The preset critical-decay, through the service, on every core: as it is, and with its search replaced by every value of
the weight decay at the same resolution; by turns, with other seeds each time. Trials, the median seconds from the call
to the last row, and the shares of the searches' time in which their dispatcher plans rounds (it reads what has ended
and decides what comes next) and adds their trials; beside it the share in which the uniform grid's are added.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from service.cli.local_service import running
from service.client import Client
from service.presets import get_preset
from service.states import TrialState

AXIS = "training.weight_decay"


class Took(NamedTuple):
    """What an experiment took until its last row."""

    rounds: int
    trials: int
    seconds: float
    submitting: float


def seconds(client: Client, grid: dict[str, Any]) -> Took:
    """Submit, wait, and see what it took."""
    began = time.time()
    made = client.submit(grid)
    submitted = time.time()
    ended = client.wait(made.id, poll_seconds=0.2)
    assert ended.counts[TrialState.COMPLETED] == sum(ended.counts.values()), ended.counts
    last = max(one.ended_at.timestamp() for one in client.trials(ended.id) if one.ended_at)
    return Took(1 + len(client.rounds(ended.id)), sum(ended.counts.values()), last - began, submitted - began)


def planning_and_adding(home: Path) -> tuple[float, float]:
    """Seconds in which the dispatcher planned rounds, and in which it added their trials, as it logged them."""
    lines = map(json.loads, (home / "logs" / "dispatcher.log").read_text().splitlines())
    rounds = [line for line in lines if line["event"] == "round_added"]
    adding = sum(line["adding_seconds"] for line in rounds)
    return sum(line["seconds"] for line in rounds) - adding, adding


def main() -> None:
    """Print both, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tolerance", type=float, default=0.005)
    parser.add_argument("--times", type=int, default=5, help="that both are trained, by turns")
    parser.add_argument("--quick", action="store_true", help="a tolerance of 5 %%")
    wanted = parser.parse_args()
    tolerance = 0.05 if wanted.quick else wanted.tolerance
    grid: dict[str, Any] = {**get_preset("critical-decay").grid, "claims": []}
    grid["refine"] = [{**one, "tolerance": tolerance} for one in grid["refine"]]
    low, high = grid["axes"][AXIS]
    count = 1 + math.ceil(math.log(high / low) / -math.log1p(-tolerance))
    uniform = {name: value for name, value in grid.items() if name != "refine"}
    uniform["axes"] = {**grid["axes"], AXIS: {"log": [low, high, count]}}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with running(home, "127.0.0.1", 0, lambda _: None) as service, Client(service.url) as client:
            # every trainer is there before anything is measured
            client.wait(client.submit({**uniform, "axes": grid["axes"], "seeds": [10**6]}).id)
            found = []
            for turn in range(wanted.times):
                searched = seconds(client, grid | {"seeds": [6 * turn + one for one in range(3)]})
                found.append((searched, seconds(client, uniform | {"seeds": [6 * turn + 3 + one for one in range(3)]})))
            whole = sum(one.seconds for one, _ in found)
            planning, adding = (one / whole for one in planning_and_adding(home))
    submitting = sum(one.submitting for _, one in found) / sum(one.seconds for _, one in found)
    rounds, tried, all_of_them = found[0][0].rounds, found[0][0].trials, found[0][1].trials
    searching, trying = (statistics.median(one.seconds for one in each) for each in zip(*found, strict=True))
    print(f"  to {tolerance:.1%}   search: {tried} trials, {rounds} rounds, {searching:.1f} s")
    print(f"             planning its rounds {planning:.1%} (goal 5%), adding their trials {adding:.1%}")
    print(f"             uniform: {all_of_them} trials, {trying:.1f} s ({count} values of the decay)")
    print(f"             adding its trials {submitting:.1%}")
    print(f"             search / uniform: trials 1/{all_of_them / tried:.1f}, time 1/{trying / searching:.1f}")


if __name__ == "__main__":
    main()
