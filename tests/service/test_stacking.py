"""Which trials share a stack, and how stacks are cut."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.canonical import canonical
from service.grids import expand
from service.stacking import MAX_LANES, count_stacks, lanes_per_stack, stack_key
from service.trial_settings import TrialSettings

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
        ("training.steps", 5),
        ("training.batch_size", 21),
        ("training.batch_order", "cyclic"),
        ("training.loss", "sum"),
        ("training.dtype", "float32"),
        ("training.schedule", "cosine"),
        ("training.stop.loss_below", 0.1),
        ("measure.points", 5),
        ("measure.layers", "all"),
        ("measure.metrics", ["alignment"]),
    ],
)
def test_lanes_share_shapes_rule_steps_and_measurements(path: str, value: object) -> None:
    assert key_with(path, value) != expand(BASE).points[0].stack_key


def test_the_key_depends_on_canonical_settings_alone() -> None:
    settings = canonical(TrialSettings())
    assert stack_key(settings) == stack_key({name: dict(reversed(part.items())) for name, part in settings.items()})


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_every_slot_gets_a_share(waiting: int, slots: int) -> None:
    lanes = lanes_per_stack(waiting, slots)
    assert 1 <= lanes <= min(waiting, MAX_LANES)
    assert lanes * slots >= min(waiting, MAX_LANES * slots)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 10_000), max_size=5), st.integers(1, 8))
def test_stacks_are_counted_as_they_are_cut(waiting: dict[str, int], slots: int) -> None:
    expected = sum(len(range(0, count, lanes_per_stack(count, slots))) for count in waiting.values() if count)
    assert count_stacks(waiting, slots) == expected
