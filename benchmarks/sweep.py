"""The same sweep through this service, its kernels alone, a process pool and Ray Tune: seconds per trial, side by side.

All sides use every core, one thread per process, the same sizes, steps, measured steps and dtype. The peers train a
sample of the trials after a warm-up and are extrapolated per trial. They run in an environment of their own:

    python -m venv benchmarks/.venv && benchmarks/.venv/bin/pip install -r benchmarks/requirements.txt
    python benchmarks/sweep.py [--quick] [--peers benchmarks/.venv/bin/python] [SWEEP ..]
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

# before torch is imported: this package's trainers set the arithmetic of the tensor library
import workers  # noqa: F401

import torch  # isort: skip
from peer_training import Sweep
from timing import gemm_rate, machine

from nfa_kernels import cost
from service.cli.local_service import running
from service.client import Client
from service.grids import expand
from service.stacking import max_lanes
from service.states import TrialState
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train

HERE = Path(__file__).parent
LINEAR = (32, 64, 64, 4)
SMALL = (10, 16, 16, 4)
WIDE = (128, 512, 512, 512, 4)


@dataclass(frozen=True)
class Case:
    """A sweep, and how many trials of it each side trains."""

    sweep: Sweep
    ours: int
    pool: int
    tune: int


CASES = {
    "linear-float32": Case(Sweep("linear-float32", LINEAR, 256, 2000, 10, dtype="float32"), 4096, 4, 4),
    "linear-float64": Case(Sweep("linear-float64", LINEAR, 256, 2000, 10), 512, 4, 4),
    "relu-float32": Case(Sweep("relu-float32", LINEAR, 256, 2000, 10, "relu", "float32"), 32, 4, 4),
    "small": Case(Sweep("small", SMALL, 200, 6000, 100, learning_rate=0.02), 512, 4, 4),
    "wide": Case(Sweep("wide", WIDE, 256, 200, 20, "relu", "float32", batch_size=64), 8, 4, 2),
}


def grid(sweep: Sweep, trials: int) -> dict:
    """The sweep as a grid of this service."""
    inputs, *hidden, outputs = sweep.widths
    training = {"learning_rate": sweep.learning_rate, "weight_decay": 0.01, "steps": sweep.steps, "dtype": sweep.dtype}
    if sweep.batch_size:
        training |= {"optimizer": "sgd", "batch_size": sweep.batch_size}
    spectrum = [1.0] * min(inputs, outputs)
    return {
        "name": sweep.name,
        "trial": {
            "data": {"samples": sweep.samples, "inputs": inputs, "outputs": outputs, "spectrum": spectrum},
            "network": {"depth": len(hidden) + 1, "width": hidden, "activation": sweep.activation},
            "training": training,
            "measure": {"every": sweep.every, "metrics": ["train_loss", "alignment"]},
        },
        "seeds": trials,
    }


def kernels_alone(sweep: Sweep, trials: int) -> tuple[float, float, float]:
    """Seconds per trial of stacks trained in one process per core; core-seconds of steps and of measuring."""
    cores = os.cpu_count() or 1
    shares = [range(first, trials, cores) for first in range(cores)]
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(_stack, [sweep] * cores, [range(2)] * cores))
        started = time.perf_counter()
        found = list(pool.map(_stack, [sweep] * cores, shares))
        taken = time.perf_counter() - started
    return taken / trials, sum(one[0] for one in found), sum(one[1] for one in found)


def _stack(sweep: Sweep, seeds: range) -> tuple[float, float]:
    """Train some seeds in stacks as large as the service's; seconds of steps and of measuring."""
    torch.set_num_threads(1)
    keep_freed_memory()
    point = expand(grid(sweep, 1)).points[0]
    stepping = measuring = 0.0
    size = max_lanes(point.settings)
    for first in range(0, len(seeds), size):
        for block in train(Stack(tuple(Lane(point.settings, seed) for seed in seeds[first : first + size]))):
            stepping += block.training_seconds
            measuring += block.measuring_seconds
    return stepping, measuring


def through_the_service(sweep: Sweep, trials: int) -> float:
    """Seconds per trial from the submission to the last row in the store, with trainers that are up."""
    with (
        tempfile.TemporaryDirectory() as home,
        running(Path(home), "127.0.0.1", 0, lambda _: None) as service,
        Client(service.url) as client,
    ):
        warm = {**grid(sweep, 2), "seeds": [10**6, 10**6 + 1, 10**6 + 2, 10**6 + 3]}
        client.wait(client.submit(warm).id, poll_seconds=0.05)
        started = time.perf_counter()
        ended = client.wait(client.submit(grid(sweep, trials)).id, poll_seconds=0.25)
        taken = time.perf_counter() - started
        assert ended.counts[TrialState.COMPLETED] == trials, ended.counts
    return taken / trials


def peer(python: Path, kind: str, sweep: Sweep, trials: int) -> float | None:
    """Seconds per trial of a peer; None where its environment is missing."""
    if not python.exists():
        return None
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MKL_CBWR", "PYTHONPATH"))}
    done = subprocess.run(
        [python, HERE / "peers.py", kind, str(trials), json.dumps(asdict(sweep))],
        env=plain | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{kind} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])["seconds_per_trial"]


def run(case: Case, python: Path) -> None:
    """One sweep through all sides."""
    sweep = case.sweep
    alone, stepping, measuring = kernels_alone(sweep, case.ours)
    service = through_the_service(sweep, case.ours)
    print(f"\n{sweep.name}: widths {sweep.widths}, n = {sweep.samples}")
    print(f"  {sweep.steps} steps, every {sweep.every}th measured")
    print(f"  {'service':22} {1e3 * service:10.2f} ms per trial, {case.ours} trials")
    print(f"  {'kernels alone':22} {1e3 * alone:10.2f} ms per trial, {case.ours} trials")
    for kind, trials in (("pool", case.pool), ("tune", case.tune)):
        found = peer(python, kind, sweep, trials)
        if found is not None:
            told = f"{found / service:6.1f}x the service, {trials} trials extrapolated"
            print(f"  {'process pool' if kind == 'pool' else 'Ray Tune':22} {1e3 * found:10.2f} ms per trial, {told}")
    shape = cost.Shape(
        sweep.widths,
        sweep.batch_size or sweep.samples,
        sweep.activation == "linear",
        full_batch=sweep.batch_size is None,
        dtype=sweep.dtype,
    )
    rate = case.ours * sweep.steps * cost.step_flops(shape) / stepping
    limit = gemm_rate(getattr(torch, sweep.dtype))
    print(f"  steps run at {rate / 1e9:.1f} GFLOP/s a core, {rate / limit:.0%} of a large GEMM ({limit / 1e9:.1f})")
    print(
        f"  measuring costs {measuring / stepping:.0%} of the steps' time; the service adds {service / alone - 1:.0%}"
    )


def main() -> None:
    """Print all sweeps asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", choices=[*CASES, []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer trials of ours")
    parser.add_argument("--peers", type=Path, default=HERE / ".venv" / "bin" / "python", help="Python with the peers")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    for name in chosen.sweeps or CASES:
        case = CASES[name]
        if chosen.quick:
            case = Case(case.sweep, max(4, case.ours // 4), min(case.pool, 2), 2)
        run(case, chosen.peers)


if __name__ == "__main__":
    main()
