"""What a bundle of a large study takes: seconds, the most memory at once, and its size.

    python benchmarks/bundle.py [--trials 2500 10000] [--steps 200] [--kind postgresql] [--without-figures]

The rows are drawn and written through the calls that a dispatcher makes; nothing is trained. The bundle is made by a
process of its own, as the service makes it. Memory is that process's and that of every process it starts, at one
moment; what they share, as libraries, counts once (PSS), looked at five times a second.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import synthetic
from serving import database
from timing import machine

from service.store.session import open_store

GOAL_SECONDS = 60.0
GOAL_MIB = 300.0
WRITER = """
import sys
from service.bundles.study import Said, study_of
from service.bundles.writing import bundle
from service.store.session import open_store
with open_store(sys.argv[1]) as store, open(sys.argv[2], "wb") as file:
    for part in bundle(store, study_of(store, ["e1"], Said(with_figures=sys.argv[3] == "figures"))):
        file.write(part)
"""


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[2_500, 10_000], help="multiples of 100")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--kind", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--without-figures", action="store_true")
    chosen = parser.parse_args()
    print(f"{machine()}; {chosen.kind}, {chosen.steps} steps, 2 layers")
    for trials in chosen.trials:
        with tempfile.TemporaryDirectory() as folder, database(chosen.kind, Path(folder), None) as url:
            with open_store(url) as store:
                synthetic.submit(store, trials, chosen.steps)
                synthetic.write(store, chosen.steps)
            file = Path(folder) / "study.zip"
            seconds, peak = bundled(url, file, "plain" if chosen.without_figures else "figures")
            size = file.stat().st_size / 2**20
        is_met = seconds < GOAL_SECONDS and peak < GOAL_MIB
        goal = f"goal < {GOAL_SECONDS:.0f} s, < {GOAL_MIB:.0f} MiB{'' if is_met else ' MISSED'}"
        print(
            f"  {trials:7,} trials{seconds:8.1f} s{peak:8.0f} MiB at most{size:8.0f} MiB of archive  {goal}", flush=True
        )


def bundled(url: str, file: Path, figures: str) -> tuple[float, float]:
    """Seconds that a bundle took, and the most that its processes held, MiB."""
    began, peak = time.perf_counter(), 0
    with subprocess.Popen([sys.executable, "-c", WRITER, url, str(file), figures]) as process:
        own = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                peak = max(peak, sum(held(one) for one in (own, *own.children(recursive=True))))
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"the bundle broke off with {process.returncode}")
    return time.perf_counter() - began, peak / 2**10


def held(process: psutil.Process) -> int:
    """Memory of a process now, KiB; none once it is gone."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return 0


if __name__ == "__main__":
    main()
