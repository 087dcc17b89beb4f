"""Going on from a checkpoint: the same numbers as without an interruption."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from nfa_kernels import names
from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers import checkpoints
from workers.blocks import Lane, Stack
from workers.training import train


def _lanes(optimizer, activation="tanh", **training):
    rule = names.OPTIMIZERS[optimizer]
    if rule.minibatches != "never":
        training |= {"batch_size": 7, "batch_order": "shuffle"}
    length = {"horizon": 1.0} if optimizer == "gradient_flow" else {"steps": 40}
    document = {
        "data": {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 3, "width": 6, "activation": activation, "bias": True},
        "training": {"optimizer": optimizer, **length, **training},
        "measure": {"points": 6, "metrics": ["train_loss", "alignment"]},
    }
    settings = canonical(TrialSettings.model_validate(document))
    return tuple(Lane(settings, seed) for seed in range(3))


def _rows(blocks, beyond=-1):
    table = pa.Table.from_batches([block.network for block in blocks]).sort_by(
        [("lane", "ascending"), ("step", "ascending")]
    )
    chosen = [row for row in table.to_pylist() if row["step"] > beyond]
    return [(row["lane"], row["step"]) for row in chosen], np.array([[r["time"], r["train_loss"]] for r in chosen])


def _blocks(lanes):
    return list(train(Stack(lanes), block_seconds=0.0, checkpoint_seconds=0.0))


@pytest.mark.parametrize("optimizer", names.OPTIMIZERS)
def test_a_resumed_stack_goes_on_to_the_numbers_of_an_undisturbed_one(optimizer):
    lanes = _lanes(optimizer)
    blocks = _blocks(lanes)
    saved = [place for place, block in enumerate(blocks) if block.checkpoints]
    assert len(saved) > 3
    for place in (saved[0], saved[len(saved) // 2], saved[-1]):
        files = {lane: (step, file) for lane, step, file in blocks[place].checkpoints}
        step = files[0][0]
        again = tuple(Lane(lane.settings, lane.seed, files[n][1]) for n, lane in enumerate(lanes))
        before, after = _rows(blocks[: place + 1]), _rows(blocks, beyond=step)
        assert all(at <= step for _, at in before[0]) and len(before[0]) + len(after[0]) == len(_rows(blocks)[0])
        resumed = _rows(_blocks(again))
        assert resumed[0] == after[0]
        np.testing.assert_allclose(resumed[1], after[1], rtol=1e-12, atol=1e-14)


def test_a_trial_goes_on_alone_from_the_checkpoint_of_its_stack():
    lanes = _lanes("adam")
    blocks = _blocks(lanes)
    block = [block for block in blocks if block.checkpoints][2]
    lane, step, file = block.checkpoints[1]
    keys, values = _rows(blocks, beyond=step)
    mine = [place for place, key in enumerate(keys) if key[0] == lane]
    alone = _rows(_blocks((Lane(lanes[1].settings, lanes[1].seed, file),)))
    np.testing.assert_allclose(alone[1], values[mine], rtol=1e-12, atol=1e-14)


def test_lanes_of_different_steps_do_not_go_on_together():
    lanes = _lanes("gd")
    first = next(block for block in _blocks(lanes) if block.checkpoints).checkpoints
    mixed = (Lane(lanes[0].settings, 0, first[0][2]), Lane(lanes[1].settings, 1))
    with pytest.raises(ValueError, match="received 1 for 2 lanes"):
        _blocks(mixed)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file[:50],
        lambda file: file.replace(f'"kernels":"{names.NUMERICAL_VERSION}"'.encode(), b'"kernels":"0"'),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_told_from_settings_that_are_refused(spoil):
    lanes = _lanes("gd")
    file = next(block for block in _blocks(lanes) if block.checkpoints).checkpoints[0][2]
    with pytest.raises(checkpoints.CheckpointError):
        _blocks((Lane(lanes[0].settings, 0, spoil(file)),))


def test_a_stack_too_large_is_not_checkpointed(monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST_BYTES", 1000)
    assert checkpoints.pack([0], 1, {"w": torch.zeros(1, 1000)}) == ()
    assert len(checkpoints.pack([0], 1, {"w": torch.zeros(1, 10)})) == 1


def test_checkpoints_of_a_large_stack_come_in_parts_that_go_on_to_the_same_numbers(monkeypatch):
    state = {"w": torch.arange(21.0).reshape(7, 3), "step": torch.full((7,), 4)}
    one_lane = checkpoints.size(state) // 7
    monkeypatch.setattr(checkpoints, "MOST_BYTES", 3 * one_lane)
    parts = list(checkpoints.pack_in_parts(range(7), 4, state))
    assert [[lane for lane, *_ in part] for part in parts] == [[0, 1, 2], [3, 4, 5], [6]]
    monkeypatch.setattr(checkpoints, "MOST_BYTES", one_lane - 1)
    singles = list(checkpoints.pack_in_parts(range(7), 4, state))
    assert [len(part) for part in singles] == [1] * 7
    files = [file for part in parts for *_, file in part]
    assert files == [file for part in singles for *_, file in part]
    found = checkpoints.unpack(files)
    assert all(torch.equal(found[name], state[name]) for name in state)
    monkeypatch.setattr(checkpoints, "MOST_LANE_BYTES", one_lane - 1)
    assert list(checkpoints.pack_in_parts(range(7), 4, state)) == []
