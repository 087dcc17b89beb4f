"""How fast sweeps are written, listed, questioned and exported, on SQLite and on PostgreSQL.

    python benchmarks/store.py [--trials 10000] [--steps 200] [--only sqlite] [--million] [--submit]

Rows go through the calls that a dispatcher makes; questions go over HTTP to a server of its own process. With MLflow
installed in benchmarks/.venv (benchmarks/requirements.txt), the same kind of values go to its SQLite tracking store.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import synthetic
from million import million
from serving import ask, database, p95, peak_bytes, reset_peak, resident_bytes, serving, show

from service.store.session import open_store


def main() -> None:
    """Measure what was asked for and print it with the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--million", action="store_true", help="a million trials, and nothing else; see million.py")
    parser.add_argument("--submit", action="store_true", help="100,000 trials in one POST, and nothing else")
    parser.add_argument("--url", help="an existing store with the sweep as its first experiment: questions alone")
    chosen = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        if chosen.million:
            with database("postgresql", Path(folder), None) as url:
                million(url)
            return
        rates: dict[str, float | None] = {}
        for kind in ("sqlite", "postgresql"):
            if chosen.only in (None, kind):
                with database(kind, Path(folder), chosen.url) as url:
                    if chosen.submit:
                        post_many(kind, url)
                        continue
                    rates[kind] = measure(kind, url, chosen.trials, chosen.steps, is_ready=chosen.url is not None)
        if not chosen.submit:
            compare(Path(folder), rates)


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


if __name__ == "__main__":
    main()
