"""A dispatcher that starts a Ray of its own: what its trainers can see, and what is left when it ends."""

import contextlib
import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest
from processes import Dispatchers, trainers, wait_for_end, wait_until

from service.store import submissions

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture
def alone(dispatchers: Dispatchers) -> Dispatchers:
    """Dispatchers that join no running Ray."""
    del dispatchers.environment["NFA_RAY_ADDRESS"], dispatchers.environment["NFA_RAY_TOKEN_PATH"]
    return dispatchers


@contextlib.contextmanager
def _bound_to_one_cpu() -> Generator[None]:
    """What is started meanwhile may run on one CPU alone, as in a job that was given one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(before)])
    yield
    os.sched_setaffinity(0, before)


def _family(pid: int) -> dict[psutil.Process, list[str]]:
    """What a dispatcher has started, with the words of each command; some of it lives for a moment."""
    found = {}
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found[process] = process.cmdline()
    return found


def _session_folder(family: dict[psutil.Process, list[str]]) -> Path:
    """Ray's temporary folder, from the command line of its head."""
    words = [word for command in family.values() for word in command if word.startswith("--session-dir=")]
    return Path(words[0].removeprefix("--session-dir=")).parent


def _trainer(store) -> psutil.Process:
    """The only trainer."""
    (pid,) = wait_until(lambda: trainers(store))
    return psutil.Process(pid)


def test_it_trains_keeps_secrets_from_trainers_and_leaves_nothing_behind(store, alone, expansion):
    submitted = submissions.create_experiment(store, expansion).id
    del alone.environment["NFA_TRAINERS"]
    with _bound_to_one_cpu():
        dispatcher = alone.start(PGPASSWORD="a secret", MY_API_TOKEN="a secret")
    wait_for_end(store, submitted)
    family = _family(dispatcher.process.pid)
    folder = _session_folder(family)
    # as many as this process may use CPUs, however many the machine has
    trainer = _trainer(store)
    environment = trainer.environ()
    assert "a secret" not in environment.values()
    assert not any(str(store.url.database) in value for value in environment.values())
    assert environment["RAY_AUTH_MODE"] == "token"
    assert folder.is_dir()
    token = Path(environment["RAY_AUTH_TOKEN_PATH"])
    assert token.stat().st_mode & 0o777 == 0o600
    dispatcher.signal(signal.SIGTERM)
    assert dispatcher.process.wait(10) == 0
    assert not folder.exists()
    assert psutil.wait_procs([trainer], timeout=5)[1] == []
    assert psutil.wait_procs(family, timeout=60)[1] == []


def test_it_exits_with_an_error_when_rays_head_is_lost(store, alone, expansion):
    submitted = submissions.create_experiment(store, expansion).id
    dispatcher = alone.start(RAY_gcs_rpc_server_reconnect_timeout_s="4")
    wait_for_end(store, submitted)
    family = _family(dispatcher.process.pid)
    (head,) = (process for process, words in family.items() if words and Path(words[0]).name == "gcs_server")
    folder, trainer = _session_folder(family), _trainer(store)
    head.kill()
    assert dispatcher.process.wait(120) != 0
    assert psutil.wait_procs([trainer], timeout=5)[1] == []
    # a dispatcher that ends like this cannot remove them itself; the next one would
    shutil.rmtree(folder, ignore_errors=True)
