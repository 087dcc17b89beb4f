"""A dispatcher that starts a Ray of its own: what its trainers can see, and what is left when it ends."""

import shutil
import signal
from pathlib import Path

import psutil
import pytest
from processes import Dispatchers, wait_for_end

from service.store import cluster, submissions

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture
def alone(dispatchers: Dispatchers) -> Dispatchers:
    """Dispatchers that join no running Ray."""
    del dispatchers.environment["NFA_RAY_ADDRESS"], dispatchers.environment["NFA_RAY_TOKEN_PATH"]
    dispatchers.environment["NFA_TRAINERS"] = "1"
    return dispatchers


def _family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _session_folder(family: list[psutil.Process]) -> Path:
    """Ray's temporary folder, from the command line of its head."""
    words = [word for process in family for word in process.cmdline() if word.startswith("--session-dir=")]
    return Path(words[0].removeprefix("--session-dir=")).parent


def test_it_trains_keeps_secrets_from_trainers_and_leaves_nothing_behind(store, alone, expansion):
    submitted = submissions.create_experiment(store, expansion).id
    dispatcher = alone.start(PGPASSWORD="a secret", MY_API_TOKEN="a secret")
    wait_for_end(store, submitted)
    family = _family(dispatcher.process.pid)
    folder = _session_folder(family)
    (about,) = cluster.list_dispatchers(store)
    trainer = psutil.Process(about.resources["trainers"][0]["pid"]).environ()
    assert "a secret" not in trainer.values()
    assert not any(str(store.url.database) in value for value in trainer.values())
    assert trainer["RAY_AUTH_MODE"] == "token"
    assert folder.is_dir()
    token = Path(trainer["RAY_AUTH_TOKEN_PATH"])
    assert token.stat().st_mode & 0o777 == 0o600
    dispatcher.signal(signal.SIGTERM)
    assert dispatcher.process.wait(10) == 0
    assert not folder.exists()
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_it_exits_with_an_error_when_rays_head_is_lost(store, alone, expansion):
    submitted = submissions.create_experiment(store, expansion).id
    dispatcher = alone.start(RAY_gcs_rpc_server_reconnect_timeout_s="4")
    wait_for_end(store, submitted)
    family = _family(dispatcher.process.pid)
    (head,) = (process for process in family if process.name() == "gcs_server")
    folder = _session_folder(family)
    (trainer,) = (process for process in family if process.name().startswith("ray::Trainer"))
    head.kill()
    assert dispatcher.process.wait(60) != 0
    assert psutil.wait_procs([trainer], timeout=5)[1] == []
    # a dispatcher that ends like this cannot remove them itself; the next one would
    shutil.rmtree(folder, ignore_errors=True)
