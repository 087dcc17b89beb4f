"""Disk space of measurements, and what thinning, deleting and `nfa gc` give back: the table of docs/operations.md.

    python benchmarks/room.py [--trials 1000] [--steps 200]

Two sweeps of so many trials with two measured layers and the default metrics, on both databases.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from serving import database
from synthetic import grid, write

from service.grid.expansion import expand
from service.store import control, retention, submissions
from service.store.session import Store, open_store
from service.store.thinning import thin_experiment


def timed(store: Store, what: str, act: Callable[[], object]) -> str:
    """Do something; a line with the database's size afterwards, and how long it took."""
    began = time.perf_counter()
    act()
    seconds = time.perf_counter() - began
    return f"  {what:38} {retention.size_on_disk(store) / 2**20:8.1f} MiB {seconds:8.2f} s"


def measure(store: Store, trials: int, steps: int) -> None:
    """Fill a store, and make room in it again."""
    thinned, deleted = (
        submissions.create_experiment(store, expand(grid(trials, steps) | {"name": name, "seeds": seeds})).id
        for name, seeds in (("thinned", [*range(trials // 100)]), ("deleted", [*range(1000, 1000 + trials // 100)]))
    )
    empty = retention.size_on_disk(store)
    rows, network_rows, _ = write(store, steps)
    full = retention.size_on_disk(store)
    total = rows + network_rows
    print(f"\n{store.dialect}: {total:,} rows, {(full - empty) / total:.0f} bytes each")
    print(timed(store, "two sweeps", lambda: None))
    print(timed(store, "one thinned to every tenth step", lambda: thin_experiment(store, thinned, 10)))
    print(timed(store, "the other deleted", lambda: control.delete_experiment(store, deleted)))
    print(timed(store, "nfa gc", lambda: (retention.collect(store), retention.vacuum(store))))
    print(timed(store, "nfa gc --full", lambda: (retention.collect(store), retention.vacuum(store, full=True))))


def main() -> None:
    """Print both databases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="of each sweep, a multiple of 100")
    parser.add_argument("--steps", type=int, default=200, help="measured steps of each trial")
    chosen = parser.parse_args()
    for kind in ("sqlite", "postgresql"):
        with (
            tempfile.TemporaryDirectory() as folder,
            database(kind, Path(folder), None) as url,
            open_store(url) as store,
        ):
            measure(store, chosen.trials, chosen.steps)


if __name__ == "__main__":
    main()
