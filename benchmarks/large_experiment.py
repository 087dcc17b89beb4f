"""What one large experiment costs, and what a neighbour notices of it, on the PostgreSQL of the wheel.

    python benchmarks/large_experiment.py [--trials 100000]

Submits, pauses, resumes, cancels and deletes it, while another process pauses and resumes an experiment of a hundred
trials again and again: seconds of each call, and how long the neighbour's calls took meanwhile. What follows each call
in the background, as the API does it, is a row of its own. Nothing is trained.
"""

import argparse
import time
from collections.abc import Callable
from multiprocessing import Event, Process, Queue
from multiprocessing.queues import Queue as Answers
from multiprocessing.synchronize import Event as Flag

import numpy as np
import synthetic
from many_trainers import postgresql
from timing import machine

from service.errors import StoreUnavailable
from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.store import control, deletions, settling, submissions
from service.store.session import Store, open_store

GOALS = {"submit": 5.0, "pause": 1.0, "cancel": 1.0, "delete": 0.2}
NEIGHBOUR_P99 = 0.25
Told = tuple[str, float, bool]
"""What was going on, the seconds of a call, and whether it was refused."""


def neighbour(url: str, experiment: str, doing: "Answers[str]", told: "Answers[Told]", over: Flag) -> None:
    """Pause and resume in turn; tells what each call took, with what was going on when it began."""
    now = ""
    with open_store(url) as store:
        while not over.is_set():
            for call in (control.pause_experiment, control.resume_experiment):
                while not doing.empty():
                    now = doing.get()
                began, is_refused = time.monotonic(), False
                try:
                    call(store, experiment)
                except StoreUnavailable:
                    is_refused = True
                told.put((now, time.monotonic() - began, is_refused))


def calls(store: Store, trials: int) -> dict[str, Callable[[], object]]:
    """The large experiment's calls, in order; each is made once."""
    grid = synthetic.grid(trials, 2)
    expansion = expand(grid, Limits(trials_per_experiment=max(trials, 100_000)))
    made = list[str]()
    return {
        "submit": lambda: made.append(submissions.create_experiment(store, expansion).id),
        "pause": lambda: control.pause_experiment(store, made[0]),
        "  rows follow the pause": lambda: settling.settle_all(store),
        "resume": lambda: control.resume_experiment(store, made[0]),
        "  rows follow the resume": lambda: settling.settle_all(store),
        "cancel": lambda: control.cancel_experiment(store, made[0]),
        "  rows follow the cancel": lambda: settling.settle_all(store),
        "delete": lambda: control.delete_experiment(store, made[0]),
        "  rows are deleted": lambda: deletions.erase_deleted(store),
    }


def main() -> None:
    """Print a row for each call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    trials = parser.parse_args().trials
    print(machine())
    with postgresql() as (store, _):
        small = submissions.create_experiment(store, expand(synthetic.grid(100, 2), Limits())).id
        doing, told, over = Queue(), Queue(), Event()
        url = store.url.render_as_string(hide_password=False)
        other = Process(target=neighbour, args=(url, small, doing, told, over))
        other.start()
        told.get()
        seconds = {}
        for name, call in calls(store, trials).items():
            doing.put(name)
            began = time.monotonic()
            call()
            seconds[name] = time.monotonic() - began
        over.set()
        found = list[Told]()
        while other.is_alive() or not told.empty():
            while not told.empty():
                found.append(told.get())
            other.join(0.05)
    goal = f"goal p99 {1e3 * NEIGHBOUR_P99:.0f} ms"
    print(f"\n{trials:,} trials; meanwhile another process pauses and resumes a hundred ({goal})")
    for name, took in seconds.items():
        own = [each for what, each, _ in found if what == name]
        refused = sum(one for what, _, one in found if what == name)
        goal = f"(goal {GOALS[name]:g})" if name in GOALS else ""
        beside = f"p50 {np.median(own) * 1e3:4.0f} ms, p99 {np.quantile(own, 0.99) * 1e3:4.0f} ms" if own else "no call"
        print(f"  {name:<25}{took:7.2f} s {goal:<11} neighbour: {len(own):4} calls, {beside}, {refused} refused")


if __name__ == "__main__":
    main()
