"""`nfa up` as its users run it: REST in, rows and verdicts out, and what a `kill -9` leaves behind.

On the database that it has by default; test_dispatcher_faults.py kills dispatchers on either.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from processes import rows, wait_for_end, wait_until
from sqlalchemy import func, select

from service.client import Client
from service.store.measured_models import layer_measurement, measurement
from service.store.session import Store

NFA = str(Path(sys.executable).with_name("nfa"))
QUICK_LEASES = {
    "NFA_LEASE_SECONDS": "4",
    "NFA_HEARTBEAT_SECONDS": "0.5",
    "NFA_SWEEP_SECONDS": "0.5",
    "NFA_BLOCK_SECONDS": "0.1",
    # to load torch takes longer than half of the sweep
    "NFA_TRAINERS": "1",
}
# what many clusters set for everybody; nothing answers there
PROXIED = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9") | {"NO_PROXY": "localhost"}
Up = Callable[[], tuple[subprocess.Popen[str], str]]


@pytest.fixture
def up(store_url: str, tmp_path: Path) -> Iterator[Up]:
    """Starts `nfa up` on the test's store; answers the process and the address, and ends what still runs."""
    started: list[subprocess.Popen[str]] = []
    environment = (
        os.environ | PROXIED | QUICK_LEASES | {"NFA_HOME": str(tmp_path / "home"), "NFA_DATABASE_URL": store_url}
    )

    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [NFA, "up", "--port", "0", "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        return process, json.loads(_document(process))["url"]

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)


def _document(process: subprocess.Popen[str]) -> str:
    """The indented JSON object that a process prints, from its opening to its closing brace."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if line.rstrip() == "}":
            break
    return "".join(lines)


def _dispatcher(supervisor: subprocess.Popen[str]) -> psutil.Process:
    children = psutil.Process(supervisor.pid).children()
    return next(child for child in children if child.cmdline()[-1] == "workers")


def _kill(process: psutil.Process) -> None:
    process.kill()
    psutil.wait_procs([process], 10)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_sweep_survives_kill_9_of_its_dispatcher_and_supervisor_with_no_row_missing_or_double(
    up: Up, store: Store
) -> None:
    first, url = up()
    grid = {
        "name": "long enough to be killed",
        "trial": {
            "data": {"samples": 30, "inputs": 6, "outputs": 2, "spectrum": [2, 1]},
            "network": {"width": 8, "activation": "relu"},
            "training": {"steps": 480_000, "learning_rate": 0.02},
            "measure": {"every": 16_000},
        },
        "axes": {"training.weight_decay": [0, 0.1]},
        "seeds": 6,
    }
    with Client(url) as client:
        experiment = client.submit(grid).id
        wait_until(lambda: rows(store) > 20)
    _kill(_dispatcher(first))
    first.kill()
    first.wait(10)
    _, url = up()
    with Client(url) as client:
        wait_for_end(store, experiment)
        assert client.experiment(experiment).state == "completed"
        trials = list(client.trials(experiment))
        assert {trial.state for trial in trials} == {"completed"} and len(trials) == 12
        assert max(trial.attempt for trial in trials) > 1
        assert {trial.failures for trial in trials} == {0}
        steps = client.measurements(trials[-1].id, ["train_loss"])["step"].to_list()
        assert steps == list(range(0, 480_001, 16_000))
        table = client.results(experiment, agg=["count"])
        assert table["alignment_count"].to_list() == [6, 6]
    with store.read() as connection:
        for table_ in (measurement, layer_measurement):
            per_trial = (
                connection.execute(select(func.count()).select_from(table_).group_by(table_.c.trial_id)).scalars().all()
            )
            assert per_trial == [31] * 12
