"""Runs samples of sweeps' trials through a peer and prints seconds per trial of each sample as JSON; see sweep.py.

    python benchmarks/peers.py pool|tune|jax SAMPLES-AS-JSON    (a sample is a sweep per trial: its shape)

pool: multiprocessing, a process per core. tune: Ray Tune with one CPU per trial, reporting each measured step.
jax: all trials of a shape at once in one process, whose threads take all cores; compiling is not counted.
"""

import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

from peer_networks import NetworkSweep, network_sweep_of, timed_network, train_network
from peer_training import Sweep, sweep_of, timed, train

AnySweep = Sweep | NetworkSweep


def timed_any(sweep: AnySweep, seed: int) -> float:
    """Seconds of one trial."""
    return timed_network(sweep, seed) if isinstance(sweep, NetworkSweep) else timed(sweep, seed)


def train_any(sweep: AnySweep, seed: int, report: Any) -> None:
    """One trial."""
    if isinstance(sweep, NetworkSweep):
        train_network(sweep, seed, report)
    else:
        train(sweep, seed, report)


def any_sweep_of(words: dict[str, Any]) -> AnySweep:
    """A sweep out of plain values."""
    return network_sweep_of(words) if "network" in words else sweep_of(words)


def pool(samples: list[list[AnySweep]]) -> list[float]:
    """Seconds per trial of a process pool on all cores, after a warm-up of each process."""
    cores = os.cpu_count() or 1
    found = []
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as workers:
        for sweeps in samples:
            list(workers.map(timed_any, [_tiny(sweeps[0])] * 4 * cores, range(4 * cores)))
            started = time.perf_counter()
            list(workers.map(timed_any, sweeps, range(len(sweeps))))
            found.append((time.perf_counter() - started) / len(sweeps))
    return found


def _tiny(sweep: AnySweep) -> AnySweep:
    """A warm-up."""
    if isinstance(sweep, NetworkSweep):
        return replace(sweep, samples=8, steps=2, every=1, batch_size=None)
    return Sweep("warm-up", sweep.widths, 8, 2, 1, sweep.activation, sweep.dtype)


def tune(samples: list[list[AnySweep]]) -> list[float]:
    """Seconds per trial of Ray Tune on all cores, after a first run and without Ray's own start."""
    import ray
    from ray import tune as ray_tune

    def trainable(config: dict) -> None:
        import torch

        torch.set_num_threads(1)

        def report(step: int, loss: float, alignment: float) -> None:
            ray_tune.report({"step": step, "loss": loss, "alignment": alignment})

        chosen = config["sweeps"]
        train_any(chosen[config["trial"]], config["trial"], report)

    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    ray.init(address="local", logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)

    def run(chosen: list[AnySweep]) -> float:
        space = {"sweeps": chosen, "trial": ray_tune.grid_search(list(range(len(chosen))))}
        with tempfile.TemporaryDirectory() as folder:
            tuner = ray_tune.Tuner(
                ray_tune.with_resources(trainable, {"cpu": 1}),
                param_space=space,
                run_config=ray_tune.RunConfig(storage_path=folder, verbose=0),
            )
            started = time.perf_counter()
            results = tuner.fit()
            taken = time.perf_counter() - started
        assert not results.errors, results.errors[0]
        return taken / len(chosen)

    run([_tiny(samples[0][0])] * 2)
    found = [run(sweeps) for sweeps in samples]
    ray.shutdown()
    return found


def jax(samples: list[list[AnySweep]]) -> list[float]:
    """Seconds per trial of fully connected networks in JAX."""
    from peer_jax import in_jax

    return in_jax([[one for one in sweeps if isinstance(one, Sweep)] for sweeps in samples])


def main() -> None:
    """Print {"seconds_per_trial": [..]}, or {"missing": what is not installed}."""
    warnings.filterwarnings("ignore")
    kind, samples = sys.argv[1], [[any_sweep_of(one) for one in sample] for sample in json.loads(sys.argv[2])]
    try:
        told: dict[str, Any] = {"seconds_per_trial": {"pool": pool, "tune": tune, "jax": jax}[kind](samples)}
    except ModuleNotFoundError as error:
        told = {"missing": error.name}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
