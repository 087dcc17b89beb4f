"""Trains and measures what waits in a store in this process: the dispatcher's calls, without a dispatcher or Ray."""

from collections.abc import Sequence
from typing import Any

from service.grid.inputs import datasets_of
from service.grid.remeasurement import inputs_of
from service.store import checkpoints, leases, reports
from service.store.datasets import arrays_for
from service.store.remeasurement_leases import LeasedWeights, lease_weights
from service.store.remeasurement_reports import Part, WeightsReport, record_weights
from service.store.reports import End, Report
from service.store.session import Store
from workers.blocks import Again, Lane, Stack
from workers.remeasuring import remeasure
from workers.training import train


def train_everything(store: Store, *, once: bool = False) -> None:
    """Lease, train and record until nothing waits; or one stack."""
    while leased := leases.lease_stack(store, "here", lease_seconds=600.0, choose=lambda s, waiting: waiting.trials):
        saved = checkpoints.checkpoints_of(store, [one.trial_id for one in leased])
        lanes = tuple(Lane(one.settings, one.seed, saved.get(one.trial_id), one.keeps) for one in leased)
        is_first, still = True, set(range(len(leased)))
        for block in train(Stack(lanes, arrays_for(store, [one.settings for one in leased]))):
            ends = tuple(
                End(leased[end.lane].trial_id, end.state, end.step, end.error, _provenance(leased[end.lane]))
                for end in block.ended
            )
            report = Report(
                tuple((one.trial_id, one.attempt) for one in leased),
                frozenset(still),
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
            still -= {end.lane for end in block.ended}
        if once:
            return


def _provenance(one: leases.Leased) -> dict[str, Any]:
    lineage = {} if one.continued_from is None else {"continued_from": one.continued_from}
    return {"node": "here", "from_step": one.checkpoint_step} | lineage


def measure_everything(store: Store) -> int:
    """Lease, measure and record kept weights until none wait; answers how many stacks there were."""
    stacks = 0
    while leased := lease_weights(store, "here", lease_seconds=600.0, choose=lambda s, waiting: waiting.trials):
        stacks += 1
        assert record_weights(store, measured(store, leased)) == frozenset()
    return stacks


def measured(store: Store, leased: Sequence[LeasedWeights]) -> WeightsReport:
    """What a stack of kept weights is measured to."""
    asked = leased[0].asked
    again = Again(tuple(asked["metrics"]), leased[0].layers, tuple(asked["exponents"]), inputs_of(asked))
    lanes = tuple(
        Lane(one.settings, one.seed, kept=one.weights, unmeasured=frozenset(one.unmeasured)) for one in leased
    )
    blocks = list(
        remeasure(Stack(lanes, arrays_for(store, [one.settings for one in leased], datasets_of(again.inputs)), again))
    )
    return WeightsReport(
        tuple((one.key, one.attempt) for one in leased),
        tuple(one.trial_id for one in leased),
        frozenset(range(len(leased))),
        tuple(Part(block.network, block.layers, block.parametrised) for block in blocks),
    )
