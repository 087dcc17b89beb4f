"""What a disturbed sweep must come to: every trial completed, with the rows and values of an undisturbed run."""

import functools
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from service.grid.expansion import Expansion, expand
from service.grid.measured_steps import measured_steps
from service.states import TrialState
from service.store import trials
from service.store.measured_models import layer_measurement, measurement
from workers.blocks import Lane, Stack
from workers.training import train

STEPS = 12_000
LONG_GRID = {
    "name": "long enough to be disturbed",
    "trial": {
        "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
        # compiled steps would have ended before anybody could disturb them; those of this activation are not
        "network": {"width": 6, "activation": "softplus"},
        "training": {"steps": STEPS, "learning_rate": 0.01},
        "measure": {"every": 120},
    },
    "axes": {"network.depth": [2, 3], "training.weight_decay": [0, 0.1]},
    "seeds": 3,
}


def undisturbed(expansion: Expansion) -> dict[str, dict[int, float]]:
    """Alignment of the first layer by step of every trial, by fingerprint, trained here without any service."""
    found: dict[str, dict[int, float]] = {}
    stacks: dict[str, list[tuple[str, Lane]]] = {}
    for _, point, seed, fingerprint in expansion.trials():
        stacks.setdefault(point.stack_key, []).append((fingerprint, Lane(point.settings, seed)))
    for members in stacks.values():
        blocks = train(Stack(tuple(lane for _, lane in members)))
        rows = pa.Table.from_batches([block.layers for block in blocks])
        for lane, step, value in zip(*(rows[name].to_pylist() for name in ("lane", "step", "alignment")), strict=True):
            found.setdefault(members[lane][0], {})[step] = value
    return found


@functools.cache
def _undisturbed() -> dict[str, dict[int, float]]:
    return undisturbed(expand(LONG_GRID))


def assert_as_undisturbed(store, experiment, alone: Mapping[str, Mapping[int, float]] | None = None):
    """Every trial completed, with exactly the rows and the values of an undisturbed run, by default of LONG_GRID."""
    listed, _ = trials.list_trials(store, experiment, state=None, where="", sort=None, limit=100, after=None)
    assert {one.row.state for one in listed} == {TrialState.COMPLETED}
    for one in listed:
        steps = measured_steps(one.row.settings)
        with store.read() as connection:
            rows = connection.execute(
                select(layer_measurement.c.step, layer_measurement.c.alignment)
                .where(layer_measurement.c.trial_id == one.row.id)
                .order_by(layer_measurement.c.step)
            ).all()
            network = connection.scalars(select(measurement.c.step).where(measurement.c.trial_id == one.row.id))
            assert sorted(network) == [row.step for row in rows] == steps
        wanted = (alone or _undisturbed())[one.row.fingerprint]
        np.testing.assert_allclose([row.alignment for row in rows], [wanted[s] for s in steps], rtol=0, atol=1e-12)
