"""Trains what waits in a store in this process: the dispatcher's calls, without a dispatcher or Ray."""

from service.store import leases, reports
from service.store.datasets import arrays_for
from service.store.reports import End, Report
from service.store.session import Store
from workers.blocks import Lane, Stack
from workers.training import train


def train_everything(store: Store) -> None:
    """Lease, train and record until nothing waits."""
    while leased := leases.lease_stack(store, "here", lease_seconds=600.0, choose=lambda s, waiting: waiting.trials):
        lanes = tuple(Lane(one.settings, one.seed) for one in leased)
        is_first = True
        for block in train(Stack(lanes, arrays_for(store, [one.settings for one in leased]))):
            ends = tuple(
                End(leased[end.lane].trial_id, end.state, end.step, end.error, {"node": "here"}) for end in block.ended
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
