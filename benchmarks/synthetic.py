"""A sweep whose numbers are drawn, not trained: written through the calls that a dispatcher makes."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from nfa_kernels import names
from service.grid.expansion import expand
from service.store import leases, submissions
from service.store.leases import Leased
from service.store.measured_models import LAYER_COLUMNS, NETWORK_COLUMNS
from service.store.reports import End, Report, record
from service.store.session import Store

LANES = 64
STEPS_PER_BLOCK = 40
NETWORK = [name for name in NETWORK_COLUMNS if name in names.DEFAULT_METRICS]
LAYER = [name for name in LAYER_COLUMNS if name in names.DEFAULT_METRICS]


def grid(trials: int, steps: int) -> dict[str, Any]:
    """`trials` trials on two axes of ten values, each measured `steps` times at two layers."""
    return {
        "name": f"synthetic-{trials}",
        "trial": {
            "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
            "network": {"depth": 2, "width": 4},
            "training": {"steps": 10 * (steps - 1)},
            "measure": {"every": 10, "layers": "all"},
        },
        "axes": {
            "training.weight_decay": {"linear": [0, 0.09, 10]},
            "training.learning_rate": {"log": [0.001, 0.1, 10]},
        },
        "seeds": trials // 100,
    }


def submit(store: Store, trials: int, steps: int) -> tuple[str, float]:
    """The id of a submitted sweep, and the seconds that took."""
    began = time.perf_counter()
    made = submissions.create_experiment(store, expand(grid(trials, steps)))
    return made.id, time.perf_counter() - began


def write(store: Store, steps: int, lanes: int = LANES) -> tuple[int, int, float]:
    """Lease, report and end every trial that waits: layer rows, network rows, and seconds inside the store's calls."""
    rows, network_rows, seconds = 0, 0, 0.0
    while True:
        began = time.perf_counter()
        leased = leases.lease_stack(store, "benchmark", lease_seconds=600.0, choose=lambda _, waiting: lanes)
        seconds += time.perf_counter() - began
        if not leased:
            return rows, network_rows, seconds
        for report in reports(leased, steps):
            began = time.perf_counter()
            assert not record(store, report, 600.0)
            seconds += time.perf_counter() - began
            rows += report.layers.num_rows
            network_rows += report.network.num_rows


def reports(leased: list[Leased], steps: int) -> Iterator[Report]:
    """A stack's blocks; a tenth of the best exponents is undefined, as in real sweeps."""
    generator = np.random.default_rng(leased[0].trial_id)
    held = tuple((one.trial_id, one.attempt) for one in leased)
    rates = np.array([one.settings["training"]["learning_rate"] for one in leased])
    for start in range(0, steps, STEPS_PER_BLOCK):
        chunk = np.arange(start, min(start + STEPS_PER_BLOCK, steps)) * 10
        lane = np.tile(np.arange(len(leased)), len(chunk))
        step = np.repeat(chunk, len(leased))
        network = {"lane": lane.astype("i4"), "step": step, "time": step * rates[lane]}
        network |= {name: generator.random(len(lane)) for name in NETWORK}
        layers = {name: np.repeat(network[name], 2) for name in ("lane", "step")}
        layers["layer"] = np.tile(np.array([1, 2], "i2"), len(lane))
        layers |= {name: generator.random(len(layers["lane"])) for name in LAYER}
        layers["best_exponent_kind"] = generator.integers(0, 4, len(layers["lane"])).astype(float)
        layers["best_exponent"][generator.random(len(layers["lane"])) < 0.1] = np.nan
        is_last = chunk[-1] == 10 * (steps - 1)
        ends = tuple(End(one.trial_id, "completed", int(chunk[-1]), None, {"node": "here"}) for one in leased)
        yield Report(
            held,
            frozenset(range(len(leased))),
            start == 0,
            pa.record_batch(network),
            pa.record_batch(layers),
            pa.record_batch({"lane": pa.array([], pa.int32()), "step": [], "layer": [], "name": [], "value": []}),
            ends if is_last else (),
        )
