"""At which steps, or times, a trial is measured."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.grid.canonical import canonical
from service.grid.measured_steps import measured_steps, measured_times
from service.grid.trial_settings import TrialSettings


def steps(last: int, **measure: Any) -> list[int]:
    block = {"training": {"steps": last}, "measure": measure}
    return measured_steps(canonical(TrialSettings.model_validate(block)))


def test_every_n_includes_the_last_step() -> None:
    assert steps(10, every=4) == [0, 4, 8, 10]


def test_listed_steps_are_sorted_and_end_with_the_last() -> None:
    assert steps(10, steps=[7, 3, 3, 99]) == [3, 7, 10]


def test_linear_points_are_rounded_multiples() -> None:
    assert steps(10, points=4, spacing="linear") == [0, 3, 7, 10]


def test_log_points_start_with_zero_and_one() -> None:
    assert steps(1000, points=5) == [0, 1, 10, 100, 1000]


def test_duplicates_go() -> None:
    assert steps(3, points=60) == [0, 1, 2, 3]


@pytest.mark.parametrize("measure", [{"points": 1}, {"points": 1, "spacing": "linear"}, {"every": 5}, {"steps": [0]}])
def test_zero_steps_measure_the_initial_weights(measure: dict[str, Any]) -> None:
    assert steps(0, **measure) == [0]


@given(st.integers(0, 10**7), st.integers(1, 300), st.sampled_from(["log", "linear"]))
@settings(max_examples=200, deadline=None)
def test_measured_steps_increase_to_the_last_and_are_at_most_as_many_as_asked(
    last: int, points: int, spacing: str
) -> None:
    found = steps(last, points=points, spacing=spacing)
    assert found == sorted(set(found)) and found[-1] == last and found[0] >= 0
    assert len(found) <= points + 1  # the last step is measured also where the spacing leaves it out
    assert all(isinstance(step, int) for step in found)
    if points > 1:
        assert found[0] == 0


def test_flow_is_measured_at_times_up_to_the_horizon() -> None:
    canonical_flow = {"training": {"horizon": 20.0}, "measure": {"points": 5, "spacing": "log"}}
    assert measured_times(canonical_flow) == pytest.approx([0.0, *np.geomspace(0.02, 20, 4)])
    linear = {"training": {"horizon": 20.0}, "measure": {"points": 5, "spacing": "linear"}}
    assert measured_times(linear) == [0.0, 5.0, 10.0, 15.0, 20.0]
