"""`python fail_in_turn.py WHAT FIRST STRIDE`: a dispatcher whose database or Ray calls fail in turn.

For each call of a small sweep's way through the dispatcher, in steps of STRIDE, one sweep is run in which that call
fails before it takes effect and one in which it fails afterwards; those left in peace before tell how many there are.
A dispatcher that ends is started again, as its supervisor would. Prints a JSON line per sweep: the call, when, and
whether every row is in the store once.
"""

# ruff: noqa: E402
import json
import sys
import threading

from workers.environment import prepare
from workers.settings import WorkerSettings

SETTINGS = WorkerSettings()
# Ray reads its environment while it is imported
prepare(SETTINGS.token_path)

import ray
import structlog
from injection import Countdown, When, failing_database, failing_ray
from processes import rows, wait_until
from sqlalchemy import func, select

from service.grid.expansion import expand
from service.store import cluster, submissions
from service.store.ids import experiment_number
from service.store.measured_models import layer_measurement, measurement
from service.store.models import experiment_trial, trial
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
                cluster.register_dispatcher(self._store, identity, "here", 1, 1, {})
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
    """Run the sweeps; raises AssertionError if one of them stands still."""
    what, first, stride = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    address, token = SETTINGS.ray_address, SETTINGS.token_path
    with open_store(SETTINGS.store_url) as store, ray_session(address, token, 2):
        calls = failing_database(store) if what == "database" else failing_ray()
        with calls as countdown:
            dispatcher = Supervised(store)
            try:
                _run(open_store(SETTINGS.store_url), countdown, first, stride)
            finally:
                dispatcher.end()
    return 0


def _run(store: Store, countdown: Countdown, first: int, stride: int) -> None:
    """`store` is a second connection, whose calls do not fail."""
    # waits for a trainer
    _calls_of_a_sweep(store, countdown, 0)
    # a heartbeat falls into one sweep and not into the next
    most = max(_calls_of_a_sweep(store, countdown, number) for number in (1, 2, 3))
    both: tuple[When, ...] = ("before", "after")
    turns = [(call, when) for call in range(first, most, stride) for when in both]
    for number, (call, when) in enumerate(turns, 4):
        made = _submit(store, number)
        countdown.arm(call, when)
        _wait(store, made)
        done = {"call": call, "when": when, "happened": countdown.is_over}
        print(json.dumps(done | {"is_whole": _rows(store, made) == [TRIALS * ROWS] * 2}), flush=True)


def _calls_of_a_sweep(store: Store, countdown: Countdown, number: int) -> int:
    made, before = _submit(store, number), countdown.calls
    _wait(store, made)
    return countdown.calls - before


def _submit(store: Store, number: int) -> int:
    """Submit a sweep with seeds of its own; its experiment's key."""
    seeds = [TRIALS * number + one for one in range(TRIALS)]
    return experiment_number(submissions.create_experiment(store, expand(GRID | {"seeds": seeds})).id)


def _wait(store: Store, number: int) -> None:
    """Wait for the end of a sweep."""
    wait_until(lambda: _ended(store, number) == TRIALS, grown=lambda: rows(store))


if __name__ == "__main__":
    sys.exit(main())
