"""What finding a place costs beside trying all places: a search against the uniform grid of the same resolution.

    python benchmarks/refine.py [--tolerance 0.005] [--times 5] [--quick]

The preset critical-decay, through the service, on every core: as it is, and with its search replaced by every value of
the weight decay at the same resolution; by turns, with other seeds each time. Trials, the median seconds from the call
to the last row, and the share of the searches' time in which their dispatcher plans and adds rounds.
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


def seconds(client: Client, grid: dict[str, Any]) -> Took:
    """Submit, wait, and see what it took."""
    began = time.time()
    ended = client.wait(client.submit(grid).id, poll_seconds=0.2)
    assert ended.counts[TrialState.COMPLETED] == sum(ended.counts.values()), ended.counts
    last = max(one.ended_at.timestamp() for one in client.trials(ended.id) if one.ended_at)
    return Took(1 + len(client.rounds(ended.id)), sum(ended.counts.values()), last - began)


def planning(home: Path) -> float:
    """Seconds in which the dispatcher read trials, planned rounds and added them, as it logged them."""
    lines = map(json.loads, (home / "logs" / "dispatcher.log").read_text().splitlines())
    return sum(line["seconds"] for line in lines if line["event"] == "round_added")


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
            share = planning(home) / sum(one.seconds for one, _ in found)
    (rounds, tried, _), (_, all_of_them, _) = found[0]
    searching, trying = (statistics.median(one.seconds for one in each) for each in zip(*found, strict=True))
    print(f"  to {tolerance:.1%}   search: {tried} trials, {rounds} rounds, {searching:.1f} s (planning {share:.1%})")
    print(f"             uniform: {all_of_them} trials, {trying:.1f} s ({count} values of the decay)")
    print(f"             search / uniform: trials 1/{all_of_them / tried:.1f}, time 1/{trying / searching:.1f}")


if __name__ == "__main__":
    main()
