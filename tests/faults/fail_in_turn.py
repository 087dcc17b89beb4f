"""`python fail_in_turn.py WHAT FIRST STRIDE`: a dispatcher whose database or Ray calls fail in turn.

For each call of a small sweep's way through the dispatcher, in steps of STRIDE, one sweep is run in which that call
fails before it takes effect and one in which it fails afterwards. A dispatcher that ends is started again, as its
supervisor would. Prints a JSON line per sweep: the call, when, and whether every row is in the store once.
"""

# ruff: noqa: E402
import json
import sys
import threading
import time

from workers.environment import prepare
from workers.settings import WorkerSettings

SETTINGS = WorkerSettings()
# Ray reads its environment while it is imported
prepare(SETTINGS.token_path)

import ray
import structlog
from injection import Countdown, failing_database, failing_ray
from sqlalchemy import func, select

from service.grids import expand
from service.store import queue, submissions
from service.store.ids import experiment_number
from service.store.models import experiment_trial, layer_measurement, measurement, trial
from service.store.session import Store, open_store
from workers.dispatcher import Dispatcher
from workers.pool import Pool
from workers.ray_start import ray_session
from workers.sizing import Wanted
from workers.watchdog import Watchdog

# results alone stand on the standard output; the dispatcher logs from a thread of its own
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

GRID = {
    "trial": {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 2, "width": 4},
        "training": {"steps": 40},
        "measure": {"every": 10, "layers": [1], "metrics": ["train_loss", "alignment"]},
    },
}
TRIALS, ROWS = 2, 5
_SECONDS = 30.0


class Supervised:
    """A dispatcher in a thread, started again whenever it ends with an error."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.stop = threading.Event()
        self.crashes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            pool = Pool(SETTINGS.block_seconds, 1000.0, SETTINGS.step_deadline_seconds)
            identity = f"d{self.crashes}"
            try:
                pool.follow(Wanted(SETTINGS.trainers or 1, 0))
                queue.register_dispatcher(self._store, identity, "here", 1, 1, {})
                Dispatcher(self._store, pool, SETTINGS, identity, {}, Watchdog(1e6), self.stop).run()
            except Exception:
                self.crashes += 1
            for seat in pool.seats:
                ray.kill(seat.trainer)

    def end(self) -> None:
        """Stop it."""
        self.stop.set()
        self._thread.join(20)


def _ended(store: Store, number: int) -> int:
    links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
    with store.read() as connection:
        return (
            connection.scalar(
                select(func.count()).select_from(trial).where(trial.c.id.in_(links), trial.c.state == "completed")
            )
            or 0
        )


def _rows(store: Store, number: int) -> list[int]:
    links = select(experiment_trial.c.trial_id).where(experiment_trial.c.experiment_id == number)
    with store.read() as connection:
        return [
            connection.scalar(select(func.count()).select_from(table).where(table.c.trial_id.in_(links))) or 0
            for table in (measurement, layer_measurement)
        ]


def main() -> int:
    """Run the sweeps; the exit code is 1 if one of them did not end in time."""
    what, first, stride = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    address, token = SETTINGS.ray_address, SETTINGS.token_path
    with open_store(SETTINGS.store_url) as store, ray_session(address, token, None):
        calls = failing_database(store) if what == "database" else failing_ray()
        with calls as countdown:
            dispatcher = Supervised(store)
            try:
                return _run(open_store(SETTINGS.store_url), countdown, dispatcher, first, stride)
            finally:
                dispatcher.end()


def _run(store: Store, countdown: Countdown, dispatcher: Supervised, first: int, stride: int) -> int:
    """`store` is a second connection, whose calls do not fail."""
    seed, call = 0, first
    while True:
        happened = []
        for when in ("before", "after"):
            seed += TRIALS
            made = submissions.create_experiment(store, expand(GRID | {"seeds": [seed, seed + 1]})).id
            countdown.arm(call, when)
            number, until = experiment_number(made), time.monotonic() + _SECONDS
            while _ended(store, number) < TRIALS:
                if time.monotonic() > until:
                    print(json.dumps({"call": call, "when": when, "stuck": made}), flush=True)
                    return 1
                time.sleep(0.01)
            happened.append(countdown.is_over)
            done = {"call": call, "when": when, "happened": countdown.is_over}
            print(json.dumps(done | {"is_whole": _rows(store, number) == [TRIALS * ROWS] * 2}), flush=True)
        if not any(happened):
            return 0
        call += stride


if __name__ == "__main__":
    sys.exit(main())
