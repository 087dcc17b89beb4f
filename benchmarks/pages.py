"""How fast pages are made and how much they weigh: 1,000 experiments, and one of 10,000 trials, on both databases.

python benchmarks/pages.py [--trials 10000] [--steps 50] [--only sqlite]
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import httpx
import synthetic
from serving import database, p95, serving, show

from service.grid.expansion import expand
from service.store import submissions
from service.store.session import open_store

SMALL = {"trial": {"training": {"steps": 10}}, "axes": {"network.depth": [2, 3]}, "seeds": 3}
CLAIMS = [
    {"id": "a", "says": "some hold", "metric": "alignment", "every_trial": ">= 0.5"},
    {"id": "b", "says": "none holds", "where": "training.weight_decay > 0", "metric": "residual", "every_trial": "< 0"},
]
PARTS = ("/static/web/page.css", "/static/web/page.js", "/static/web/icon.svg", "/static/web/vega.js")


def main() -> None:
    """Fill a store, ask for its pages, print seconds and bytes with the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--experiments", type=int, default=1_000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    chosen = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for kind in ("sqlite", "postgresql"):
            if chosen.only in (None, kind):
                with database(kind, Path(folder), None) as url:
                    print(f"\n{kind}: {chosen.experiments} experiments, {chosen.trials} trials x {chosen.steps} steps")
                    experiment = fill(url, chosen.experiments, chosen.trials, chosen.steps)
                    with serving(url) as (client, _):
                        measure(client, experiment)


def fill(url: str, experiments: int, trials: int, steps: int) -> str:
    """The id of the large experiment among many small ones."""
    with open_store(url) as store:
        document = synthetic.grid(trials, steps) | {"claims": CLAIMS}
        experiment = submissions.create_experiment(store, expand(document), document=document).id
        synthetic.write(store, steps)
        for number in range(experiments - 1):
            submissions.create_experiment(store, expand(SMALL | {"name": f"small {number}"}))
    return experiment


def measure(client: httpx.Client, experiment: str) -> None:
    """Every page on its own, the first look as well, and the weight of the heaviest."""
    root = str(client.base_url).removesuffix("/api/v1/")
    page = f"{root}/experiments/{experiment}"

    def ask(address: str) -> None:
        client.get(address).raise_for_status()

    def first(address: str) -> float:
        began = time.perf_counter()
        ask(address)
        return time.perf_counter() - began

    show("list, first look", first(f"{root}/") * 1e3, "ms", -300)
    show("list, p95", p95(lambda: ask(f"{root}/"), 20) * 1e3, "ms", -300)
    show("experiment, first look", first(page) * 1e3, "ms", -1_000)
    show("experiment, p95", p95(lambda: ask(page), 10) * 1e3, "ms", -1_000)
    filtered = f"{page}?trials_where=training.weight_decay+>+0.05+and+final.alignment+>+0.5&sort=-final.alignment"
    show("experiment, filtered and sorted, p95", p95(lambda: ask(filtered), 5) * 1e3, "ms", -1_000)
    show("its figure's specification, p95", p95(lambda: ask(f"{page}/figure.json"), 3) * 1e3, "ms", None)
    show("charting library, first look", first(f"{root}/static/web/vega.js") * 1e3, "ms", None)
    weight = sum(wire_bytes(client, address) for address in (page, *(root + part for part in PARTS)))
    show("experiment page on the wire", weight / 1e3, "kB", -1_200)


def wire_bytes(client: httpx.Client, address: str) -> int:
    """Bytes of an answer's body as it is sent, compressed."""
    with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        return sum(len(part) for part in answer.iter_raw())


if __name__ == "__main__":
    main()
