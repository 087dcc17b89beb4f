"""Which trials share a stack, and how stacks are cut."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfa_kernels import names
from service.grid import cost
from service.grid.canonical import canonical
from service.grid.data_shapes import DataShape
from service.grid.expansion import expand
from service.grid.points import Point
from service.grid.stacking import (
    CACHED_BYTES,
    MAX_LANES,
    UNKNOWN_LANES,
    Estimate,
    enough_waiting,
    estimate,
    lanes_per_stack,
    max_lanes,
    stack_key,
)
from service.grid.trial_settings import TrialSettings

BASE = {"trial": {"data": {"test_samples": 10}, "training": {"optimizer": "adam", "batch_size": 20}}}


def key_with(path: str, value: object) -> str:
    grid = copy.deepcopy(BASE)
    return expand({**grid, "axes": {path: [value]}}).points[0].stack_key


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.learning_rate", 0.5),
        ("training.weight_decay", 0.5),
        ("training.beta1", 0.5),
        ("training.beta2", 0.5),
        ("training.epsilon", 0.5),
        ("training.steps", 5),
        ("training.schedule", "cosine"),
        ("training.schedule", "step"),
        ("data.noise", 0.5),
        ("data.spectrum", [1]),
        ("data.covariance", "whitened"),
        ("data.seed", 5),
        ("init.scheme", "balanced"),
        ("init.scale", 3),
    ],
)
def test_lanes_may_differ_in_numbers_of_the_rule_data_and_initial_weights(path: str, value: object) -> None:
    assert key_with(path, value) == expand(BASE).points[0].stack_key


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.samples", 100),
        ("data.inputs", 11),
        ("data.outputs", 5),
        ("data.test_samples", 11),
        ("network.depth", 4),
        ("network.width", 17),
        ("network.activation", "relu"),
        ("network.bias", True),
        ("network.parameterization", "ntk"),
        ("training.optimizer", "adamw"),
        ("training.batch_size", 21),
        ("training.batch_order", "cyclic"),
        ("training.loss", "sum"),
        ("training.dtype", "float32"),
        ("training.stop.loss_below", 0.1),
        ("measure.points", 5),
        ("measure.layers", "all"),
        ("measure.metrics", ["alignment"]),
    ],
)
def test_lanes_share_shapes_rule_steps_and_measurements(path: str, value: object) -> None:
    assert key_with(path, value) != expand(BASE).points[0].stack_key


@pytest.mark.parametrize(
    ("loss", "number"), [(loss, number) for loss, read in names.LOSS_NUMBERS.items() for number in read]
)
def test_lanes_may_differ_in_numbers_of_the_loss(loss: str, number: str) -> None:
    grid = {"trial": {"data": {"kind": "digits"}, "training": {"loss": loss}}}
    points = expand({**grid, "axes": {f"training.{number}": [0.0, 0.2] if "smooth" in number else [0.1, 3]}}).points
    assert len(points) == 2 and len({point.stack_key for point in points}) == 1


@pytest.mark.parametrize("path", ["schedule_steps", "schedule_factor", "steps"])
@pytest.mark.parametrize("schedule", ["cosine", "step", "warmup"])
def test_lanes_may_differ_in_numbers_of_the_schedule(schedule: str, path: str) -> None:
    axes = {f"training.{path}": [2, 9]}
    points = expand({"trial": {"training": {"schedule": schedule, "steps": 50}}, "axes": axes}).points
    assert len({point.stack_key for point in points}) == 1


def test_the_key_depends_on_canonical_settings_alone() -> None:
    settings = canonical(TrialSettings())
    assert stack_key(settings) == stack_key({name: dict(reversed(part.items())) for name, part in settings.items()})


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_every_slot_gets_a_share(waiting: int, slots: int) -> None:
    lanes = lanes_per_stack(waiting, slots)
    assert 1 <= lanes <= min(waiting, MAX_LANES)
    # as few stacks for each slot as can be, and no slot has one more than another but for rounding
    stacks_of_a_slot = math.ceil(waiting / (slots * MAX_LANES))
    assert lanes == math.ceil(waiting / (slots * stacks_of_a_slot))
    assert math.ceil(math.ceil(waiting / lanes) / slots) == stacks_of_a_slot


def test_stacks_are_equal_where_a_share_is_more_than_one_holds() -> None:
    settings = expand({"trial": {}}).points[0].settings
    most = max_lanes(settings)
    assert lanes_per_stack(2 * most, 2, settings) == most
    assert lanes_per_stack(2 * most + 2, 2, settings) == math.ceil((2 * most + 2) / 4)
    assert lanes_per_stack(7 * most, 2, settings) == math.ceil(7 * most / 8)


SETTINGS = [
    None,
    *(
        expand({"trial": block}).points[0].settings
        for block in (
            {},
            {"network": {"width": 300, "depth": 3}},
            {"network": {"activation": "tanh"}, "data": {"samples": 16}, "training": {"steps": 4000}},
        )
    ),
]


@given(st.data(), st.sampled_from(SETTINGS), st.sampled_from([None, 1 << 30]))
def test_trials_beyond_enough_make_no_difference_to_a_stack(
    data: st.DataObject, settings: dict[str, Any] | None, memory: int | None
) -> None:
    slots = data.draw(st.integers(1, 200))
    idle, keys = data.draw(st.integers(1, slots)), data.draw(st.integers(1, 64))
    enough = enough_waiting(slots, settings, memory_bytes=memory)
    more = data.draw(st.integers(enough, 100 * enough))
    told, full = (lanes_per_stack(n, slots, settings, None, memory, keys=keys, idle=idle) for n in (enough, more))
    most = MAX_LANES if settings is None else max_lanes(settings, None, memory)
    assert 0.8 * full <= 0.8 * most <= told <= most
    if keys == 1 and (settings is None or memory):
        assert told == most


def test_trials_of_one_key_stay_together_where_slots_have_other_keys() -> None:
    assert [lanes_per_stack(12, 4, keys=keys) for keys in (1, 4, 5, 8, 16, 100)] == [3, 3, 3, 6, 12, 12]
    assert lanes_per_stack(2 * MAX_LANES, 4, keys=100) == MAX_LANES


def test_few_small_networks_stay_together_while_no_slot_would_be_idle() -> None:
    steps = {"training": {"steps": 4000}, "measure": {"points": 2}}
    # whose steps are calls into the tensor library
    trial = {**steps, "network": {"activation": "softplus"}, "data": {"samples": 16}}
    small = expand({"trial": trial}).points[0].settings
    # two keys for two slots are one stack each; the last one is not cut while the other slot works
    assert lanes_per_stack(12, 2, small, keys=2) == 12
    assert lanes_per_stack(12, 2, small, keys=1, idle=1) == 12
    assert lanes_per_stack(12, 2, small, keys=1, idle=2) == 6
    assert lanes_per_stack(12, 8, small, keys=3) == 4
    # many take as long as their arithmetic, and are shared as ever
    assert lanes_per_stack(1000, 2, small, keys=2) == 500
    large = expand({"trial": {**steps, "network": {"width": 60, "activation": "tanh"}}}).points[0].settings
    assert lanes_per_stack(12, 2, large, keys=2) == 6


def test_a_stack_is_bounded_by_memory_by_the_cache_and_by_the_time_of_a_step() -> None:
    small, wide, long = (
        expand({"trial": block}).points[0]
        for block in (
            {},
            {"network": {"width": 2000, "depth": 3}},
            {"network": {"width": 2000, "depth": 3, "activation": "relu"}, "data": {"samples": 40_000}},
        )
    )
    weights = 8 * (10 * 16 + 16 * 16 + 16 * 4)
    assert max_lanes(small.settings) == CACHED_BYTES // weights < MAX_LANES
    assert 1 <= max_lanes(wide.settings) < 64
    assert max_lanes(long.settings) == 1
    assert lanes_per_stack(10 * max_lanes(wide.settings), 2, wide.settings) == max_lanes(wide.settings)


def test_stacks_of_uploaded_data_stay_small_until_their_size_is_known() -> None:
    grid = {"trial": {"data": {"kind": "uploaded", "dataset_id": "a"}}}
    point = expand(grid, datasets={"a": {"x": (50, 3), "y": (50, 2)}}).points[0]
    assert lanes_per_stack(10 * UNKNOWN_LANES, 1, point.settings) == UNKNOWN_LANES
    assert lanes_per_stack(500, 1, point.settings, point.shape) == 500


def looked(point: Point) -> tuple[Mapping[str, Any], DataShape]:
    return point.settings, point.shape


def test_the_estimate_counts_stacks_and_grows_with_the_work() -> None:
    def of(grid: dict, slots: int = 2):
        expansion = expand(grid)
        waiting = [(p, p.stack_key, len(expansion.seeds), p.steps) for p in expansion.points]
        return estimate(waiting, slots, looked)

    grid = {"axes": {"network.depth": [2, 3], "training.weight_decay": [0, 0.1]}, "seeds": 10}
    assert of({**grid, "seeds": 100}).stacks == 4
    assert of(grid).stacks == of(grid, slots=1).stacks == 2
    assert 0 < of(grid).seconds < of({**grid, "seeds": 1000}).seconds
    assert of(grid).seconds < of(grid, slots=1).seconds
    assert estimate([], 2, looked) == Estimate(0, 0.0)


def test_the_estimate_of_lanes_of_different_lengths_lies_between_those_of_equal_ones() -> None:
    def seconds(*steps: int) -> float:
        expansion = expand({"trial": {"network": {"width": 100}}, "axes": {"training.steps": list(steps)}, "seeds": 4})
        return estimate([(p, p.stack_key, 4, p.steps) for p in expansion.points], 1, looked).seconds

    assert seconds(1000) < seconds(1000, 9000) < seconds(9000, 9001)
    assert seconds(1000, 9000) < seconds(1000) + seconds(9000)


def test_steps_of_linear_networks_are_estimated_as_they_are_compiled() -> None:
    shape, lanes = DataShape(200, (32,), 4, 0), 40
    linear = {"network": {"width": 64, "depth": 3}}
    by_rule = {
        rule: expand({"trial": linear | {"training": {"optimizer": rule}}}).points[0].settings
        for rule in ("gd", "adam", "muon")
    }
    compiled, adam, called = (cost.step_seconds(one, shape, lanes) / lanes for one in by_rule.values())
    # 3.7 and 11 microseconds were measured in float64
    assert 2e-6 < compiled < 8e-6 and compiled < adam < 2.5 * compiled
    assert called > 3 * compiled
    # and a stack of two takes hardly longer a network
    assert cost.step_seconds(by_rule["gd"], shape, 2) / 2 < 1.5 * compiled


@pytest.mark.parametrize(
    ("inputs", "width", "activation", "samples", "lanes", "measured"),
    [
        # microseconds of a network's default measurement, as benchmarks/measurements.py prints them
        (32, 64, "linear", 256, 64, 26),
        (10, 16, "linear", 200, 512, 5),
        (32, 64, "relu", 256, 32, 375),
        (10, 16, "relu", 20, 64, 25),
        (128, [512, 512, 512], "relu", 256, 1, 29_000),
    ],
    ids=["linear", "linear, small", "relu", "relu, small", "wide"],
)
def test_measurements_are_estimated_as_they_are_compiled(inputs, width, activation, samples, lanes, measured) -> None:
    network = {"depth": len(width) + 1 if isinstance(width, list) else 3, "width": width, "activation": activation}
    data = {"samples": samples, "inputs": inputs, "outputs": 4}

    def seconds(every: int) -> float:
        document = {"data": data, "network": network, "training": {"steps": 100}, "measure": {"every": every}}
        [point] = expand({"trial": document}).points
        return cost.stack_seconds(point.settings, point.shape, lanes)

    # 101 rows and 51
    one = (seconds(1) - seconds(2)) / 50 / lanes
    assert measured / 2.5 < 1e6 * one < 2.5 * measured


@pytest.mark.parametrize(
    ("width", "training", "every", "lanes", "together"),
    [
        # of 51 points and 15 looks beside most of them
        (8, {"steps": 1000}, 20, 4, 64 / (1 + 1000 / 51 / 64)),
        (8, {"steps": 100}, 20, 4, 6),
        # weights and data of a look are 45 KiB a network
        (64, {"steps": 1000}, 20, 4, 17.4),
        (64, {"steps": 1000}, 20, 200, 1),
        # a step of a network is half a million operations
        (256, {"steps": 1000}, 500, 1, 1),
        (8, {"optimizer": "gradient_flow", "horizon": 1.0}, None, 4, 1),
        (8, {"steps": 1000, "optimizer": "muon"}, 20, 4, 1),
    ],
)
def test_points_of_small_stacks_are_estimated_as_measured_together(width, training, every, lanes, together) -> None:
    measure = {"every": every} if every else {"points": 20}
    data = {"samples": 200, "inputs": 16, "outputs": 4}
    document = {"data": data, "network": {"depth": 3, "width": width}, "training": training, "measure": measure}
    [point] = expand({"trial": document}).points
    assert cost.points_at_once(point.settings, point.shape, lanes) == pytest.approx(together, rel=0.1)


IMAGES: dict[str, Any] = {"kind": "conv_teacher", "channels": 1, "size": 8}
VECTORS: dict[str, Any] = {"inputs": 32, "spectrum": [1.0]}


@pytest.mark.parametrize(
    ("data", "network", "batch", "measured"),
    [
        # microseconds of a network's step, between those in float32 and in float64
        (VECTORS, {"kind": "resmlp", "depth": 6, "width": 64, "activation": "relu", "norm": "layer"}, 16, 100),
        (IMAGES, {"kind": "convnet", "depth": 3, "channels": 16, "kernel": 3, "activation": "relu"}, 16, 330),
        (VECTORS, {"depth": 3, "width": 64, "activation": "relu"}, None, 163),
        (VECTORS, {"depth": 3, "width": 64, "activation": "tanh"}, None, 290),
    ],
    ids=["resmlp", "convnet", "relu", "tanh"],
)
def test_steps_of_other_networks_are_estimated_as_they_are_compiled(data, network, batch, measured) -> None:
    training = {"optimizer": "sgd", "batch_size": batch} if batch else {}
    document = {"network": network, "training": training, "data": {"samples": 256, "outputs": 4, **data}}
    [point] = expand({"trial": document}).points
    seconds = cost.step_seconds(point.settings, point.shape, 8) / 8
    assert measured / 2.5 < 1e6 * seconds < 2.5 * measured
