"""Work counted instead of timed, the same on a busy machine; and trials trained without a dispatcher."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from service.store import leases, reports
from service.store.datasets import arrays_for
from service.store.reports import End, Report
from service.store.session import Store
from workers.blocks import Lane, Stack
from workers.training import train


@pytest.fixture
def calls() -> Callable[[Callable[[], object]], int]:
    """How many functions, of Python and of C, a call calls in this thread."""

    def counted(what: Callable[[], object]) -> int:
        found = 0

        def count(_frame: FrameType, event: str, _argument: Any) -> None:
            nonlocal found
            found += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            what()
        finally:
            sys.setprofile(None)
        return found

    return counted


@pytest.fixture
def train_queue(store: Store) -> Callable[[], None]:
    """Leases, trains and records everything that waits, in this process: the dispatcher's calls without Ray."""

    def work() -> None:
        while leased := leases.lease_stack(
            store, "here", lease_seconds=600.0, choose=lambda s, waiting: waiting.trials
        ):
            lanes = tuple(Lane(one.settings, one.seed) for one in leased)
            is_first = True
            for block in train(Stack(lanes, arrays_for(store, [one.settings for one in leased]))):
                ends = tuple(
                    End(leased[end.lane].trial_id, end.state, end.step, end.error, {"node": "here"})
                    for end in block.ended
                )
                report = Report(
                    tuple((one.trial_id, one.attempt) for one in leased),
                    frozenset(range(len(leased))),
                    is_first,
                    block.network,
                    block.layers,
                    block.parametrised,
                    ends,
                    block.weights,
                )
                assert reports.record(store, report, 600.0) == frozenset()
                is_first = False

    return work
