"""Leases and reports as a dispatcher makes them, without a dispatcher."""

import pyarrow as pa

from service.store import leases
from service.store.reports import End, Report

LEASE = 30.0


def lease(store, owner="d1", lanes=100):
    return leases.lease_stack(store, owner, lease_seconds=LEASE, choose=lambda settings, waiting: lanes)


def report(leased, steps, *, ends=False, first=True, value=0.5):
    """A report of all lanes at the given steps; their alignment is `value`."""
    lanes = [lane for lane in range(len(leased)) for _ in steps]
    at = [step for _ in leased for step in steps]
    keys = {"lane": pa.array(lanes, pa.int32()), "step": pa.array(at, pa.int64())}
    values = pa.array([value] * len(at), pa.float64())
    network = pa.record_batch({**keys, "time": pa.array([0.1 * step for step in at]), "train_loss": values})
    layers = pa.record_batch({**keys, "layer": pa.array([1] * len(at), pa.int16()), "alignment": values})
    empty = pa.record_batch(
        {
            **{name: column[:0] for name, column in keys.items()},
            "layer": pa.array([], pa.int16()),
            "name": pa.array([], pa.string()),
            "value": pa.array([], pa.float64()),
        }
    )
    finished = tuple(End(one.trial_id, "completed", steps[-1], None, {"host": "h"}) for one in leased) if ends else ()
    pairs = tuple((one.trial_id, one.attempt) for one in leased)
    return Report(pairs, frozenset(range(len(leased))), first, network, layers, empty, finished)
