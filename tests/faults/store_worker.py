"""Processes that lease, record and finish as a dispatcher does, without training.

What they measure is the number of their attempt, so that rows of two attempts can be told apart. Each is a process of
its own, forked from one that has loaded what they need: starting sixteen Pythons takes as long as the tests do.
"""

import multiprocessing
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
from sqlalchemy.exc import IntegrityError

from service.errors import StoreUnavailable
from service.grid.measured_steps import measured_steps
from service.store import leases, reports
from service.store.leases import Leased
from service.store.reports import End, Report
from service.store.session import Store, open_store

_LANES, _BLOCK = 8, 2
_TRAINING_SECONDS = 0.02
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "unguarded"])


def measured(attempt: int) -> float:
    """What attempt number so and so measures."""
    return attempt / 1024


def work(store: Store, identity: str, lease_seconds: float) -> None:
    """Take stack after stack, until killed."""
    while True:
        leases.sweep(store)
        leased = leases.lease_stack(store, identity, lease_seconds=lease_seconds, choose=lambda s, waiting: _LANES)
        if not leased:
            time.sleep(0.05)
            continue
        steps = measured_steps(leased[0].settings)
        still = frozenset(range(len(leased)))
        for start in range(0, len(steps), _BLOCK):
            time.sleep(_TRAINING_SECONDS)
            report = _report(leased, steps[start : start + _BLOCK], identity, still, start == 0, steps[-1])
            gone = _commit(store, report, lease_seconds)
            still -= {lane for lane, one in enumerate(leased) if one.trial_id in gone}


def _commit(store: Store, report: Report, lease_seconds: float) -> frozenset[int]:
    """Record a block, again and again while the store is away."""
    while True:
        try:
            return reports.record(store, report, lease_seconds)
        except StoreUnavailable:
            report = replace(report, is_repeat=True)


def _report(
    leased: Sequence[Leased], steps: Sequence[int], identity: str, still: frozenset[int], is_first: bool, last: int
) -> Report:
    lanes = [lane for lane in sorted(still) for _ in steps]
    keys = {"lane": pa.array(lanes, pa.int32()), "step": pa.array([s for _ in still for s in steps], pa.int64())}
    values = pa.array([measured(leased[lane].attempt) for lane in lanes], pa.float64())
    layer = pa.array([1] * len(lanes), pa.int16())
    nothing = {"layer": layer[:0], "name": pa.array([], pa.string()), "value": values[:0]}
    ends = [leased[lane].trial_id for lane in sorted(still)] if steps[-1] == last else []
    return Report(
        tuple((one.trial_id, one.attempt) for one in leased),
        still,
        is_first,
        pa.record_batch({**keys, "time": values, "train_loss": values}),
        pa.record_batch({**keys, "layer": layer, "alignment": values}),
        pa.record_batch({**{name: column[:0] for name, column in keys.items()}, **nothing}),
        tuple(End(key, "completed", last, None, {"dispatcher": identity}) for key in ends),
    )


def work_for_ever(url: str, lease_seconds: float, said: Path = Path(os.devnull)) -> None:
    """Work on a store; a defect ends a stack as it would end a dispatcher, and is said in a file."""
    with open_store(url) as store, said.open("a", buffering=1) as file:
        while True:
            try:
                work(store, str(uuid.uuid4()), lease_seconds)
            except (IntegrityError, StoreUnavailable) as error:
                file.write(f"{type(error).__name__}\n")


def start(
    url: str, lease_seconds: float, said: Path = Path(os.devnull), works: Callable[..., None] = work_for_ever
) -> ForkServerProcess:
    """Start a process that works on a store until it is killed."""
    process = _FORKS.Process(target=works, args=(url, lease_seconds, said), daemon=True)
    # the process that is forked from learns of no other path in Python 3.11
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        process.start()
    return process
