"""The same sweep through this service, its kernels alone, a process pool, Ray Tune and JAX: seconds per trial.

All sides use every core, one thread per process (JAX: one process), the same sizes, steps, measured steps and dtypes.
The peers train a sample of the trials after a warm-up and are extrapolated per trial. Networks that train in float32
are measured in float32 on all sides, or in float64 on all sides in the sweeps that say so; of linear networks the
service measures no other way than in float64. Of networks that are not fully connected it also says how far the peer's
loss and alignment are from ours, trained from the same weights. JAX trains fully connected networks of one shape: vmap
over seeds, jit, and scan over steps; what it takes to compile is not counted. The peers run in an environment of their
own where there is one, or else in this one; what is not installed there is named and left out:

    python -m venv benchmarks/.venv && benchmarks/.venv/bin/pip install -r benchmarks/requirements.txt
    python benchmarks/sweep.py [--quick] [--peers benchmarks/.venv/bin/python] [SWEEP ..]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

# before torch is imported: this package's trainers set the arithmetic of the tensor library
import workers  # noqa: F401

import torch  # isort: skip
from network_cases import CONVNET, RESMLP, TRANSFORMER, arrays_of, difference, network_document, uploaded
from network_cases import in_float64 as of_float64
from network_cases import step_flops as network_step_flops
from network_cases import told as told_network
from peer_networks import NetworkSweep
from peer_training import Sweep
from timing import gemm_rate, machine

from nfa_kernels import cost
from service.cli.local_service import running
from service.client import Client
from service.grid.expansion import expand
from service.grid.stacking import lanes_per_stack
from service.states import TrialState
from workers.allocation import keep_freed_memory
from workers.blocks import Lane, Stack
from workers.training import train

HERE = Path(__file__).parent
LINEAR = (32, 64, 64, 4)
SMALL = (10, 16, 16, 4)
RELU = Sweep("relu-float32", LINEAR, 256, 2000, 10, "relu", "float32")
WIDE = Sweep("wide", (128, 512, 512, 512, 4), 256, 200, 20, "relu", "float32", batch_size=64)


S = TypeVar("S", Sweep, NetworkSweep)


@dataclass(frozen=True)
class Case(Generic[S]):
    """A sweep of one shape or of many, and how many trials each side trains."""

    sweeps: tuple[S, ...]
    ours: int
    pool: int
    tune: int
    is_quick: bool = True
    """Among the sweeps of --quick."""
    rounds: int = 1
    """Parts in which we train it, by turns through the service and with the kernels alone."""

    def sample(self, trials: int) -> Sequence[S]:
        """The shapes of a peer's trials, spread over all."""
        return [self.sweeps[13 * trial % len(self.sweeps)] for trial in range(trials)]


def in_float64(sweep: Sweep) -> Sweep:
    """The same with measurements in float64."""
    return replace(sweep, name=f"{sweep.name}-measured-in-float64", measured_in="float64")


MIXED = tuple(
    Sweep("mixed", (16, *[width] * (depth - 1), 4), 200, 1000, 20, learning_rate=0.001)
    for depth in (2, 3, 4, 5, 6)
    for width in (8, 12, 16, 24, 32, 48, 64, 96)
)
CASES: dict[str, Case[Sweep]] = {
    "linear-float32": Case((Sweep("linear-float32", LINEAR, 256, 2000, 10, dtype="float32"),), 4096, 4, 4, rounds=4),
    "linear-float64": Case((Sweep("linear-float64", LINEAR, 256, 2000, 10),), 512, 4, 4),
    "relu-float32": Case((RELU,), 128, 8, 4),
    "relu-float32-measured-in-float64": Case((in_float64(RELU),), 128, 8, 4, is_quick=False),
    "relu-float64": Case((Sweep("relu-float64", LINEAR, 256, 2000, 10, "relu"),), 64, 8, 4, is_quick=False),
    "small": Case((Sweep("small", SMALL, 200, 6000, 100, learning_rate=0.02),), 512, 4, 4),
    "mixed": Case(MIXED, 160, 20, 10),
    "wide": Case((WIDE,), 32, 16, 4),
    "wide-measured-in-float64": Case((in_float64(WIDE),), 32, 8, 4, is_quick=False),
    "wide-float64": Case((replace(WIDE, name="wide-float64", dtype="float64"),), 32, 8, 4, is_quick=False),
}
NETWORKS: dict[str, Case[NetworkSweep]] = {
    "resmlp": Case((RESMLP,), 128, 8, 4),
    "resmlp-float64": Case((of_float64(RESMLP),), 128, 8, 4, is_quick=False),
    "convnet": Case((CONVNET,), 64, 8, 4),
    "convnet-float64": Case((of_float64(CONVNET),), 64, 8, 4, is_quick=False),
    "transformer": Case((TRANSFORMER,), 32, 8, 4),
    "transformer-float64": Case((of_float64(TRANSFORMER),), 32, 8, 4, is_quick=False),
}
AnyCase = Case[Sweep] | Case[NetworkSweep]
AnySweep = Sweep | NetworkSweep
ALL: dict[str, AnyCase] = {**CASES, **NETWORKS}


def grid(case: AnyCase, trials: int, dataset: str = "") -> dict[str, Any]:
    """The sweep as a grid of this service; dataset is the id of its upload, where it has one."""
    sweep = case.sweeps[0]
    if isinstance(sweep, NetworkSweep):
        return network_document(sweep, trials, dataset)
    shapes = [one.widths for one in case.sweeps if isinstance(one, Sweep)]
    inputs, *hidden, outputs = sweep.widths
    training = {"learning_rate": sweep.learning_rate, "weight_decay": 0.01, "steps": sweep.steps, "dtype": sweep.dtype}
    if sweep.batch_size:
        training |= {"optimizer": "sgd", "batch_size": sweep.batch_size}
    spectrum = [1.0] * min(inputs, outputs)
    axes = {"network.depth": sorted({len(one) - 1 for one in shapes}), "network.width": sorted({s[1] for s in shapes})}
    return {
        "name": sweep.name,
        "trial": {
            "data": {"samples": sweep.samples, "inputs": inputs, "outputs": outputs, "spectrum": spectrum},
            "network": {"depth": len(hidden) + 1, "width": hidden, "activation": sweep.activation},
            "training": training,
            "measure": {
                "every": sweep.every,
                "metrics": ["train_loss", "alignment"],
                "dtype": sweep.measured_in or sweep.dtype,
            },
        },
        "axes": axes if len(shapes) > 1 else {},
        "seeds": trials // len(shapes),
    }


def kernels_alone(pool: ProcessPoolExecutor, case: AnyCase, trials: int, dataset: str) -> tuple[float, float, float]:
    """Seconds per trial of stacks trained in one process per core; core-seconds of steps and of measuring."""
    cores = os.cpu_count() or 1
    stacks = []
    sweep = case.sweeps[0]
    arrays = {dataset: arrays_of(sweep)} if dataset and isinstance(sweep, NetworkSweep) else {}
    shapes = {name: {array: part.shape for array, part in parts.items()} for name, parts in arrays.items()}
    points = expand(grid(case, trials, dataset), datasets=shapes).points
    for point in points:
        seeds = trials // len(case.sweeps)
        size = lanes_per_stack(seeds, cores, point.settings, point.shape, keys=len(points))
        stacks += [(point.settings, range(first, min(first + size, seeds)), arrays) for first in range(0, seeds, size)]
    list(pool.map(_stack, [(stacks[0][0], range(2), arrays)] * cores))
    started = time.perf_counter()
    found = list(pool.map(_stack, stacks))
    taken = time.perf_counter() - started
    return taken / trials, sum(one[0] for one in found), sum(one[1] for one in found)


def _stack(what: tuple[dict, range, dict[str, dict[str, np.ndarray]]]) -> tuple[float, float]:
    """Train some seeds of one grid point as a stack; seconds of steps and of measuring."""
    torch.set_num_threads(1)
    keep_freed_memory()
    settings, seeds, arrays = what
    blocks = list(train(Stack(tuple(Lane(settings, seed) for seed in seeds), arrays)))
    return sum(block.training_seconds for block in blocks), sum(block.measuring_seconds for block in blocks)


@dataclass(frozen=True)
class Ours:
    """Seconds of a sweep: a trial through the service and with the kernels alone; all steps and all measuring."""

    service: float
    alone: float
    stepping: float
    measuring: float


def ours(cases: list[AnyCase]) -> list[Ours]:
    """Each sweep through the service, with trainers that are up, and by turns, first and last, with the kernels alone.

    Times are means: a machine that grows slower meanwhile harms neither side.
    """
    found = []
    with (
        ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool,
        tempfile.TemporaryDirectory() as home,
        running(Path(home), "127.0.0.1", 0, lambda _: None) as service,
        Client(service.url) as client,
    ):
        for case in cases:
            part, sweep = case.ours // case.rounds, case.sweeps[0]
            dataset = uploaded(client, sweep) if isinstance(sweep, NetworkSweep) and sweep.vocabulary else ""
            alone, through = [kernels_alone(pool, case, part, dataset)], 0.0
            for number in range(case.rounds):
                trials = range(number * part, (number + 1) * part)
                through += through_the_service(client, case, trials, dataset) / case.rounds
                alone.append(kernels_alone(pool, case, part, dataset))
            wall, stepping, measuring = (sum(side) / len(alone) for side in zip(*alone, strict=True))
            found.append(Ours(through, wall, case.rounds * stepping, case.rounds * measuring))
            print(f"{case.sweeps[0].name}: {1e3 * through:.2f} ms per trial", file=sys.stderr)
    return found


def through_the_service(client: Client, case: AnyCase, trials: range, dataset: str) -> float:
    """Seconds per trial from the submission to the last row in the store."""
    sweep, each = grid(case, len(trials), dataset), len(case.sweeps)
    warm = sweep | {"axes": {}, "seeds": [10**6, 10**6 + 1, 10**6 + 2, 10**6 + 3]}
    client.wait(client.submit(warm).id, poll_seconds=0.05)
    started = time.time()
    seeds = list(range(trials.start // each, trials.stop // each))
    ended = client.wait(client.submit(sweep | {"seeds": seeds}).id, poll_seconds=1.0)
    assert ended.counts[TrialState.COMPLETED] == len(trials), ended.counts
    # committed with each trial's last row
    last = max(one.ended_at.timestamp() for one in client.trials(ended.id) if one.ended_at)
    return (last - started) / len(trials)


def peers(python: Path, kind: str, samples: Sequence[Sequence[AnySweep]]) -> list[float]:
    """Seconds per trial of a peer for each sample; none where it is not installed, which is printed."""
    print(f"{kind}: {sum(map(len, samples))} trials", file=sys.stderr)
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MKL_CBWR", "PYTHONPATH"))}
    done = subprocess.run(
        [python, HERE / "peers.py", kind, json.dumps([[asdict(one) for one in sample] for sample in samples])],
        env=plain | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{kind} failed:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    if "missing" in told:
        how = (
            "pip install -e '.[bench]', or benchmarks/requirements.txt"
            if kind == "jax"
            else "benchmarks/requirements.txt"
        )
        print(f"left out: {kind}, since {python} has no {told['missing']} ({how})")
        return []
    return told["seconds_per_trial"]


def told(case: AnyCase, taken: Ours, others: dict[str, tuple[float, int]]) -> None:
    """Print a sweep: what it took of each side.

    Args:
        case: the sweep.
        taken: by us.
        others: seconds per trial of each peer, and how many trials it trained.
    """
    sweep, service = case.sweeps[0], taken.service
    if isinstance(sweep, NetworkSweep):
        sizes = told_network(sweep)
    else:
        shapes = f"widths {sweep.widths}" if len(case.sweeps) == 1 else f"{len(case.sweeps)} shapes"
        sizes = f"{shapes}, n = {sweep.samples}"
    print(f"\n{sweep.name}: {sizes}, {sweep.steps} steps, every {sweep.every}th measured")
    print(f"  {'service':22} {1e3 * service:10.2f} ms per trial, {case.ours} trials")
    print(f"  {'kernels alone':22} {1e3 * taken.alone:10.2f} ms per trial, {case.ours} trials, by turns")
    for name, (found, trials) in others.items():
        ratio = f"{found / service:6.1f}x the service, {trials} trials extrapolated"
        print(f"  {name:22} {1e3 * found:10.2f} ms per trial, {ratio}")
    operations = sum(map(operations_of, case.sweeps)) / len(case.sweeps)
    rate = case.ours * sweep.steps * operations / taken.stepping
    limit = gemm_rate(getattr(torch, sweep.dtype))
    print(f"  steps run at {rate / 1e9:.1f} GFLOP/s a core, {rate / limit:.0%} of a large GEMM ({limit / 1e9:.1f})")
    costs, adds = taken.measuring / taken.stepping, service / taken.alone - 1
    print(f"  measuring costs {costs:.0%} of the steps' time; the service adds {adds:.0%}")
    if isinstance(sweep, NetworkSweep):
        loss, alignment = difference(sweep)
        print(f"  from the same weights the peer's loss differs by {loss:.1e}, its alignment by {alignment:.1e}")
    elif len(case.sweeps) == 1 and sweep.activation != "linear":
        measurements = len(range(0, sweep.steps + 1, sweep.every))
        measured = cost.alignment_flops(shape_of(sweep), sweep.samples)
        measured_in = getattr(torch, sweep.measured_in or sweep.dtype)
        least = sweep.steps * operations / limit + measurements * measured / gemm_rate(measured_in)
        print(f"  at the rate of large products throughout: {1e3 * least / (os.cpu_count() or 1):.2f} ms per trial")


def operations_of(sweep: AnySweep) -> int:
    """Of a step of one network."""
    return network_step_flops(sweep) if isinstance(sweep, NetworkSweep) else cost.step_flops(shape_of(sweep))


def in_pools(case: AnyCase) -> dict[str, Sequence[AnySweep]]:
    """Trials of the process pool; where the service measures in float64 and it would not, also of one that does."""
    sweep = case.sweeps[0]
    found: dict[str, Sequence[AnySweep]] = {"process pool": case.sample(case.pool)}
    if isinstance(sweep, Sweep) and (sweep.dtype, sweep.activation) == ("float32", "linear"):
        in_double: list[AnySweep] = [replace(one, measured_in="float64") for one in case.sample(case.pool)]
        found["pool, float64 metrics"] = in_double
    return found


def shape_of(sweep: Sweep) -> cost.Shape:
    """What the cost of one step depends on."""
    samples, is_linear = sweep.batch_size or sweep.samples, sweep.activation == "linear"
    return cost.Shape(sweep.widths, samples, is_linear, full_batch=sweep.batch_size is None, dtype=sweep.dtype)


def main() -> None:
    """Print all sweeps asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", choices=[*ALL, []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer trials of ours, and fewer sweeps")
    own = HERE / ".venv" / "bin" / "python"
    here = own if own.exists() else Path(sys.executable)
    parser.add_argument("--peers", type=Path, default=here, help="Python with the peers (default: %(default)s)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), flush=True)
    every = [name for name, case in ALL.items() if case.is_quick or not chosen.quick]
    cases = [ALL[name] for name in chosen.sweeps or every]
    if chosen.quick:
        cases = [replace(one, ours=max(len(one.sweeps), one.ours // 8), pool=min(one.pool, 4), tune=2) for one in cases]
    ours_found = ours(cases)
    # the service is stopped before the peers start: they have the machine to themselves
    pools = [(case, name, sample) for case in cases for name, sample in in_pools(case).items()]
    by_pool = peers(chosen.peers, "pool", [sample for _, _, sample in pools])
    by_tune = peers(chosen.peers, "tune", [case.sample(case.tune) for case in cases])
    in_jax = [case for case in cases if len(case.sweeps) == 1 and isinstance(case.sweeps[0], Sweep)]
    by_jax = peers(chosen.peers, "jax", [case.sample(case.pool) for case in in_jax]) if in_jax else []
    others: dict[AnyCase, dict[str, tuple[float, int]]] = {case: {} for case in cases}
    for (case, name, sample), seconds in zip(pools, by_pool, strict=False):
        others[case][name] = seconds, len(sample)
    for case, seconds in zip(cases, by_tune, strict=False):
        others[case]["Ray Tune"] = seconds, case.tune
    for case, seconds in zip(in_jax, by_jax, strict=False):
        others[case]["JAX"] = seconds, case.pool
    for case, taken in zip(cases, ours_found, strict=True):
        told(case, taken, others[case])


if __name__ == "__main__":
    main()
