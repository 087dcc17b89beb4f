"""An API process that is killed while it takes submissions, and one that is sent what would fill its memory."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from deployment import Supervised
from processes import wait_until

KILLS = 6
_SECRET = "planted-secret-in-the-address"


@pytest.fixture
def api(store_url: str, tmp_path: Path) -> Iterator[tuple[Supervised, str]]:
    """A supervised API process and its root; a name that nothing may repeat stands in its database's address."""
    bound = socket.create_server(("127.0.0.1", 0))
    bound.set_inheritable(True)
    marked = f"{store_url}&application_name={_SECRET}" if store_url.startswith("postgresql") else store_url
    environment = os.environ | {"NFA_DATABASE_URL": marked, "NFA_HOME": str(tmp_path / _SECRET)}
    command = ["-m", "service.cli.api_process", str(bound.fileno())]
    process = Supervised("api", command, environment, tmp_path / "api.log", (bound.fileno(),))
    root = f"http://127.0.0.1:{bound.getsockname()[1]}"
    wait_until(lambda: _status(f"{root}/readyz") == 200)
    yield process, root
    process.process.kill()
    process.process.wait(10)
    bound.close()


def _status(address: str) -> int | None:
    try:
        return httpx.get(address, timeout=2.0).status_code
    except httpx.TransportError:
        return None


def test_one_key_makes_one_experiment_however_often_the_api_is_killed(api, tiny_grid):
    process, root = api
    grid = tiny_grid(seeds=3_000)
    found: list[httpx.Response] = []

    def submit() -> None:
        while not found:
            try:
                answer = httpx.post(
                    f"{root}/api/v1/experiments", json=grid, headers={"Idempotency-Key": "one"}, timeout=120
                )
            except httpx.TransportError:
                continue
            if answer.status_code == 201:
                found.append(answer)

    for kill in range(KILLS):
        found.clear()
        caller = threading.Thread(target=submit, daemon=True)
        caller.start()
        # later each time: while the body is read, while rows are written, while it is answered
        time.sleep(0.08 * kill)
        process.kill()
        process.start()
        caller.join(180)
        assert found and found[0].json()["id"] == "e1"
    experiments = httpx.get(f"{root}/api/v1/experiments", timeout=60).json()["items"]
    assert [one["id"] for one in experiments] == ["e1"]
    assert sum(experiments[0]["counts"].values()) == found[0].json()["trials"]["total"]


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _hostile() -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Address, headers and body of requests that a careless server pays dearly for."""
    to_grids = {"content-type": "application/json"}
    for body in (
        b"[" * 3_000_000,
        b'{"a":' * 500_000,
        json.dumps({"seeds": 10**9}).encode(),
        json.dumps({"axes": {f"training.{name}": list(range(3000)) for name in ("learning_rate", "steps")}}).encode(),
        b'{"name": "' + b"x" * 4_000_000 + b'"}',
        b'{"trial": {"training": {"learning_rate": NaN}}}',
        b'{"name": "' + b"\\u0000" * 400_000 + b'"}',
    ):
        yield "/api/v1/experiments", to_grids, body
    bomb = "\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 12))]
    )
    for text in (bomb, "!!python/object/apply:os.system ['true']", "a: " * 1_000_000, "{" * 500_000):
        yield "/api/v1/experiments", {"content-type": "application/yaml"}, text.encode()
    yield "/api/v1/datasets?name=x", {"content-type": "application/x-npz"}, b"PK" + bytes(60_000_000)
    yield "/api/v1/datasets?name=x", {"content-type": "text/csv"}, b"x0,y0\n" + b"1,1\n" * 5_000_000 + b"1,nan\n"


def test_hostile_bodies_are_refused_in_time_and_memory_and_nothing_secret_is_told(api, tmp_path):
    process, root = api
    server = psutil.Process(process.process.pid)
    wait_until(lambda: _status(f"{root}/api/v1/experiments") == 200)
    before = server.memory_info().rss
    answers = []

    def seconds(address: str, headers: dict[str, str], body: bytes) -> float:
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")
        began = time.monotonic()
        answer = httpx.post(f"{root}{address}", headers=headers, content=body, timeout=60)
        took = time.monotonic() - began
        assert 400 <= answer.status_code < 500, answer.text
        peak = _peak_bytes(server.pid) - before
        assert peak < 200 * 2**20, f"{body[:40]!r}: {peak >> 20} MiB"
        answers.append(answer.text)
        return took

    for request in _hostile():
        # a machine that stands still for a moment does not do so three times
        assert any(seconds(*request) < 2.0 for _ in range(3)), f"{request[2][:40]!r} takes two seconds or more"
    assert not [one for one in [*answers, (tmp_path / "api.log").read_text()] if _SECRET in one]
