"""Trains what waits in a store in this process: the dispatcher's calls, without a dispatcher or Ray."""

from typing import Any

from service.store import checkpoints, leases, reports
from service.store.datasets import arrays_for
from service.store.reports import End, Report
from service.store.session import Store
from workers.blocks import Lane, Stack
from workers.training import train


def train_everything(store: Store, *, once: bool = False) -> None:
    """Lease, train and record until nothing waits; or one stack."""
    while leased := leases.lease_stack(store, "here", lease_seconds=600.0, choose=lambda s, waiting: waiting.trials):
        saved = checkpoints.checkpoints_of(store, [one.trial_id for one in leased])
        lanes = tuple(Lane(one.settings, one.seed, saved.get(one.trial_id), one.keeps) for one in leased)
        is_first = True
        for block in train(Stack(lanes, arrays_for(store, [one.settings for one in leased]))):
            ends = tuple(
                End(leased[end.lane].trial_id, end.state, end.step, end.error, _provenance(leased[end.lane]))
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
                states=block.states,
                resumed_step=leased[0].checkpoint_step if is_first else -1,
            )
            assert reports.record(store, report, 600.0) == frozenset()
            is_first = False
        if once:
            return


def _provenance(one: leases.Leased) -> dict[str, Any]:
    lineage = {} if one.continued_from is None else {"continued_from": one.continued_from}
    return {"node": "here", "from_step": one.checkpoint_step} | lineage
