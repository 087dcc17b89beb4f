"""What a running service shows: which sockets listen where, and where planted secrets can be read."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from processes import wait_until
from sqlalchemy import make_url

from service.tokens import is_loopback

NFA = str(Path(sys.executable).with_name("nfa"))
SECRET = "planted-9f1c"
FORCED_BY_RAY = ("workers", "gcs_server", "raylet", "ray::RuntimeEnvAgent", "ray::Trainer", "ray::IDLE", "autoscaler")
"""The allow-list of docs/operations.md: whose sockets may be reached from other machines."""


def _words(process: psutil.Process) -> str:
    """Its command line; nothing once it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _environment(process: psutil.Process) -> str:
    """Its environment; nothing once it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return str(process.environ())
    return ""


def _is_exposed(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        listening = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
        return not all(is_loopback(one.laddr.ip) for one in listening)
    return False


def _is_listed(process: psutil.Process) -> bool:
    words = _words(process)
    return words.endswith("-m workers") or any(one in words for one in FORCED_BY_RAY[1:])


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_only_rays_own_processes_listen_beyond_loopback_and_secrets_stay_with_those_who_need_them(
    store_url: str, tmp_path: Path
) -> None:
    # the test's server trusts every password
    url = make_url(store_url).set(password=SECRET).render_as_string(hide_password=False)
    planted = {"NFA_DATABASE_URL": url, "NFA_TOKEN": SECRET, "PGPASSWORD": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}
    environment = os.environ | planted | {"NFA_HOME": str(tmp_path / "home"), "NFA_TRAINERS": "1"}
    output = tmp_path / "output"
    with output.open("w") as log:
        service = subprocess.Popen([NFA, "up", "--port", "0", "--json"], env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: '"url"' in output.read_text() and "}" in output.read_text())
        supervisor = psutil.Process(service.pid)
        wait_until(lambda: any("ray::Trainer" in _words(one) for one in supervisor.children(recursive=True)))
        everything = [supervisor, *supervisor.children(recursive=True)]
        assert not {_words(one) for one in everything if _is_exposed(one) and not _is_listed(one)}
        dispatcher = next(one for one in supervisor.children() if one.cmdline()[-1] == "workers")
        rays = dispatcher.children(recursive=True)
        assert len(rays) > 3
        assert [one.name() for one in rays if SECRET in _environment(one)] == []
        assert [one.name() for one in everything if SECRET in _words(one)] == []
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)
    logs = [*(tmp_path / "home").rglob("*.log"), output]
    assert len(logs) >= 3 and not [one for one in logs if SECRET in one.read_text(errors="replace")]
    assert json.loads(output.read_text().partition("}")[0] + "}")["url"].startswith("http://127.0.0.1:")
