"""Networks of one stack with last steps and schedules of their own: each as it is alone."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from nfa_kernels import names
from nfa_kernels.schedules import factor
from service.grid.canonical import canonical
from service.grid.measured_steps import measured_steps
from service.grid.stacking import stack_key
from service.grid.trial_settings import TrialSettings
from workers.blocks import EXPLODED, LAST_STEP, Lane, Stack
from workers.goals import Goals
from workers.kept_weights import decoded
from workers.paces import Paces
from workers.training import train

MEASURE = {"points": 6, "layers": [1, 2], "metrics": ["train_loss", "alignment"], "weights": [12]}


def _lane(seed, measure=MEASURE, activation="tanh", **training):
    document = {
        "data": {"samples": 20, "inputs": 5, "outputs": 2, "spectrum": [2, 1]},
        "network": {"depth": 3, "width": 6, "activation": activation, "bias": True},
        "training": training,
        "measure": measure,
    }
    return Lane(canonical(TrialSettings.model_validate(document)), seed)


def _run(lanes, **options):
    assert len({stack_key(lane.settings) for lane in lanes}) == 1
    blocks = list(train(Stack(tuple(lanes)), **options))
    ends = {end.lane: end for block in blocks for end in block.ended}
    return blocks, pa.Table.from_batches([block.network for block in blocks]), ends


def _of(table, lane):
    rows = table.filter(pc.field("lane") == lane).drop_columns("lane").sort_by("step")
    return {name: rows[name].to_numpy() for name in rows.column_names}


def _kept(blocks):
    return {(lane, step): decoded(file)[0] for block in blocks for lane, step, file in block.weights}


CASES = {
    "constant": [{"steps": 12}, {"steps": 40}, {"steps": 101}, {"steps": 40}],
    "cosine": [{"steps": 12}, {"steps": 40}, {"steps": 101}, {"steps": 40}],
    "step": [{"steps": 40, "schedule_steps": 5}, {"steps": 40, "schedule_factor": 0.5}, {"steps": 90}, {"steps": 90}],
    "warmup": [{"steps": 40, "schedule_steps": 30}, {"steps": 40}, {"steps": 90}, {"steps": 15, "schedule_steps": 20}],
    "each its own": [{"steps": 40, "schedule": schedule} for schedule in names.SCHEDULES],
}


@pytest.mark.parametrize("optimizer", ["gd", "sgd", "adam"])
@pytest.mark.parametrize("schedule", CASES)
def test_lanes_with_their_own_steps_and_schedules_are_as_they_are_alone(schedule, optimizer):
    more = {} if optimizer == "gd" else {"batch_size": 7}
    lanes = [
        _lane(seed, optimizer=optimizer, learning_rate=0.01 * (seed + 1), **{"schedule": schedule, **own}, **more)
        for seed, own in enumerate(CASES[schedule])
    ]
    blocks, together, ends = _run(lanes)
    for index, lane in enumerate(lanes):
        alone_blocks, alone, alone_ends = _run([lane])
        mine, wanted = _of(together, index), _of(alone, 0)
        assert mine["step"].tolist() == wanted["step"].tolist() == measured_steps(lane.settings)
        assert np.array_equal(mine["time"], wanted["time"])
        for name, values in wanted.items():
            np.testing.assert_allclose(mine[name], values, rtol=1e-12, atol=1e-14, err_msg=name)
        last = lane.settings["training"]["steps"]
        assert ends[index][1:] == alone_ends[0][1:] == ("completed", last, None, LAST_STEP)
        if torch.backends.mkl.is_available():  # only MKL promises the same bits
            for array, own in _kept(alone_blocks)[0, 12].items():
                assert np.array_equal(_kept(blocks)[index, 12][array], own)


def test_time_is_the_sum_of_each_lanes_own_rates():
    _, table, _ = _run([_lane(0, measure=MEASURE, steps=steps, schedule="cosine") for steps in (12, 20)])
    for index, steps in enumerate((12, 20)):
        wanted = 0.02 * sum(factor("cosine", t, steps) for t in range(steps))
        assert _of(table, index)["time"][-1] == pytest.approx(wanted, rel=1e-14)


def test_a_lane_that_diverges_where_another_one_is_measured_ends_there_as_it_does_alone():
    measure = {"steps": [0], "metrics": ["train_loss"]}
    short = _lane(0, measure=measure, activation="linear", steps=64)
    wild = _lane(1, measure=measure, activation="linear", steps=500, learning_rate=5.0)
    _, table, ends = _run([short, wild])
    _, alone, alone_ends = _run([wild])
    assert ends[1][1:] == alone_ends[0][1:] == ("diverged", 64, None, EXPLODED)
    assert _of(table, 1)["step"].tolist() == _of(alone, 0)["step"].tolist() == [0, 64]
    assert ends[0][1:] == ("completed", 64, None, LAST_STEP) and _of(table, 0)["step"].tolist() == [0, 64]


def test_steps_done_are_counted_for_each_lane_until_it_ends():
    blocks, _, _ = _run([_lane(seed, steps=steps) for seed, steps in enumerate((12, 40, 100))])
    assert sum(block.lane_steps for block in blocks) == 152


@pytest.mark.parametrize("schedule", names.SCHEDULES)
def test_a_stack_of_different_steps_goes_on_from_a_checkpoint(schedule):
    lanes = [_lane(seed, steps=steps, schedule=schedule) for seed, steps in enumerate((30, 60, 90))]
    blocks, table, _ = _run(lanes, block_seconds=0.0, checkpoint_seconds=0.0)
    saved = [place for place, block in enumerate(blocks) if len(block.checkpoints) == 3]
    assert len(saved) > 5
    for place in (saved[0], saved[-1]):
        files = {lane: (step, file) for lane, step, file in blocks[place].checkpoints}
        again = [Lane(lane.settings, lane.seed, files[number][1]) for number, lane in enumerate(lanes)]
        _, resumed, ends = _run(again)
        assert [ends[number].step for number in range(3)] == [30, 60, 90]
        for number in range(3):
            whole, rest = _of(table, number), _of(resumed, number)
            left = whole["step"] > files[number][0]
            for name, values in whole.items():
                np.testing.assert_allclose(rest[name], values[left], rtol=1e-12, atol=1e-14, err_msg=name)


def test_paces_compute_each_schedule_once_and_keep_those_that_are_left():
    lengths = (10, 20, 10)
    lanes = [{"schedule": "cosine", "steps": steps} for steps in lengths]
    paces = Paces(lanes)
    for step in range(4):
        found = torch.as_tensor(paces.next(step))
        assert found.flatten().tolist() == [factor("cosine", step, steps) for steps in lengths]
    totals = [sum(factor("cosine", t, steps) for t in range(4)) for steps in (10, 20)]
    assert paces.sums.tolist() == [totals[0], totals[1], totals[0]]
    paces.keep(torch.tensor([1]))
    assert paces.next(4) == factor("cosine", 4, 20) and not paces.is_constant
    assert paces.sums.tolist() == [totals[1] + factor("cosine", 4, 20)]
    other = Paces(lanes)
    other.restore(torch.tensor([1.0, 2.0, 1.0]))
    assert other.sums.tolist() == [1, 2, 1]


def test_constant_schedules_of_any_length_are_one():
    paces = Paces([{"schedule": "constant", "steps": steps} for steps in (10, 20)])
    assert paces.is_constant and paces.next(0) == 1.0 and paces.sums.tolist() == [1, 1]


def test_goals_say_who_is_measured_kept_and_ends():
    goals = Goals({"measure": {"every": 5, "weights": [8]}}, [10, 12])
    assert [goals[number] for number in range(len(goals))] == [0, 5, 8, 10, 12]
    assert [goals.measured(number) for number in range(5)] == [[0, 1], [0, 1], [], [0, 1], [1]]
    assert [goals.kept(number) for number in range(5)] == [[], [], [0, 1], [], []]
    assert [set(goals.ending(number)) for number in range(5)] == [set(), set(), set(), {0}, {0, 1}]
    assert [goals.after(step) for step in (0, 4, 5, 9, 12)] == [1, 1, 2, 3, 5]
    goals.keep([1])
    assert goals.measured(3) == [0] and goals.ending(3) == frozenset() and goals.ending(4) == {0}
