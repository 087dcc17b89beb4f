"""The state that a trial ends with: a longer one goes on from it to the numbers of an uninterrupted one."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from nfa_kernels import names
from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers import checkpoints, training
from workers.blocks import Lane, Stack

STEPPING = [name for name in names.OPTIMIZERS if name != "gradient_flow"]


def _lanes(optimizer, steps, *, measure=None, seeds=range(3), **more):
    if names.OPTIMIZERS[optimizer].minibatches != "never":
        more |= {"batch_size": 7, "batch_order": "shuffle"}
    document = {
        "data": {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 3, "width": 6, "activation": "tanh", "bias": True},
        "training": {"optimizer": optimizer, "steps": steps, **more},
        "measure": {"metrics": ["train_loss", "alignment", "nfa_dnfa"], **(measure or {"every": 8})},
    }
    settings = canonical(TrialSettings.model_validate(document))
    return tuple(Lane(settings, seed, keeps=True) for seed in seeds)


def _run(lanes):
    return list(training.train(Stack(lanes), block_seconds=0.0))


def _rows(blocks, beyond=-1):
    """(lane, step) and every number of the network's and layers' rows."""
    found = []
    for name in ("network", "layers"):
        table = pa.Table.from_batches([getattr(block, name) for block in blocks])
        order = [(key, "ascending") for key in ("lane", "step", "layer") if key in table.column_names]
        found += [row for row in table.sort_by(order).to_pylist() if row["step"] > beyond]
    return [(row["lane"], row["step"]) for row in found], [list(row.values()) for row in found]


def _states(blocks):
    return {lane: (step, file) for block in blocks for lane, step, file in block.states}


@pytest.mark.parametrize("optimizer", STEPPING)
def test_a_longer_stack_goes_on_from_kept_states_bit_for_bit(optimizer):
    kept = _states(_run(_lanes(optimizer, 64)))
    assert {lane: step for lane, (step, _) in kept.items()} == {0: 64, 1: 64, 2: 64}
    whole = _run(_lanes(optimizer, 128))
    begun = tuple(replace(lane, checkpoint=kept[n][1]) for n, lane in enumerate(_lanes(optimizer, 128)))
    again = _run(begun)
    keys, values = _rows(whole, beyond=64)
    assert _rows(again)[0] == keys
    np.testing.assert_array_equal(_rows(again)[1], values)
    assert _states(again) == _states(whole)
    assert sum(block.lane_steps for block in again) == 3 * 64


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"learning_rate": 50.0}, "diverged"),
        ({"stop": {"loss_below": 1e9}, "measure": {"steps": [64]}}, "below the loss that stops it"),
        ({"weight_decay": 49.9999, "dtype": "float32"}, "collapsed"),
    ],
)
def test_a_trial_that_a_longer_one_would_not_pass_keeps_no_state(more, why):
    assert _states(_run(_lanes("gd", 64, **more))) == {}, why


def test_only_lanes_that_ask_keep_their_state_and_none_where_all_are_too_large(monkeypatch):
    lanes = _lanes("adam", 16)
    assert set(_states(_run((lanes[0], replace(lanes[1], keeps=False), lanes[2])))) == {0, 2}
    monkeypatch.setattr(training, "MOST_KEPT_BYTES", 10)
    assert _states(_run(lanes)) == {}


def test_a_kept_state_is_the_file_of_a_checkpoint_of_that_step():
    (lane,) = _lanes("momentum", 64, seeds=[4])
    ((step, file),) = _states(_run([lane])).values()
    (longer,) = _lanes("momentum", 128, seeds=[4])
    blocks = training.train(Stack((longer,)), block_seconds=0.0, checkpoint_seconds=0.0)
    assert (step, file) in [(at, one) for block in blocks for _, at, one in block.checkpoints]
    assert checkpoints.unpack([file])["step"].tolist() == [64]
