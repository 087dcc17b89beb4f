"""Which trials begin alike, and what a longer one can take over of what a shorter one measured."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.grid.beginnings import beginning, copied_steps
from service.grid.canonical import canonical
from service.grid.expansion import expand
from service.grid.lengths import MEASURED, SCHEDULE, Shorter, hindrance
from service.grid.trial_settings import TrialSettings
from tests.service.computing import in_time


def _settings(steps, measure=None, **training):
    return canonical(
        TrialSettings.model_validate({"training": {"steps": steps, **training}, "measure": measure or {"every": 10}})
    )


@pytest.mark.parametrize(
    ("measure", "longer", "copied"),
    [
        ({"every": 10}, {"every": 10}, [0, 10, 20, 30]),
        ({"every": 10}, {"every": 20}, [0, 20]),
        ({"every": 10}, {"every": 5}, None),
        ({"every": 10}, {"points": 4, "spacing": "linear"}, [0, 20]),
        ({"points": 60}, {"points": 60}, None),
        ({"steps": {"log": [1, 1000, 4]}}, {"steps": {"log": [1, 1000, 4]}}, [1, 10]),
        ({"steps": [5]}, {"steps": [50]}, []),
        ({"every": 10}, {"every": 10, "weights": [50]}, [0, 10, 20, 30]),
        ({"every": 10}, {"every": 10, "weights": [35, 50]}, None),
        ({"every": 10}, {"every": 10, "weights": [20]}, None),
        ({"every": 10, "weights": [20, 30]}, {"every": 10, "weights": [20]}, [0, 10, 20, 30]),
    ],
)
def test_what_was_measured_holds_all_that_the_longer_one_measures(measure, longer, copied):
    shorter, own = _settings(35, measure), _settings(60, longer)
    assert beginning(shorter) == beginning(own) is not None
    assert copied_steps(shorter, own) == copied
    assert hindrance(shorter, own) == (MEASURED if copied is None else None)


def test_one_that_may_stop_is_measured_at_its_every_step():
    stop = {"stop": {"loss_below": 0.1}}
    assert copied_steps(_settings(30, **stop), _settings(60, **stop)) == [0, 10, 20, 30]
    assert copied_steps(_settings(35, **stop), _settings(60, **stop)) is None
    assert copied_steps(_settings(30, **stop), _settings(60, {"every": 30}, **stop)) is None


@pytest.mark.parametrize(
    ("training", "is_shared"),
    [
        ({}, True),
        ({"schedule": "cosine"}, False),
        ({"schedule": "step"}, False),
        ({"schedule": "step", "schedule_steps": 10}, True),
        ({"schedule": "warmup"}, False),
        ({"schedule": "warmup", "schedule_steps": 10}, True),
        ({"optimizer": "adam", "dtype": "float32"}, True),
        ({"stop": {"when": "final.alignment > 0.9"}}, True),
        ({"stop": {"when": "final.alignment > 0.9 and training.steps > 99"}}, False),
        # the longer it decays by stages, the wider its weights have to be kept
        ({"schedule": "step", "schedule_steps": 30, "weight_decay": 0.5, "dtype": "float32"}, False),
    ],
)
def test_a_schedule_that_follows_from_the_length_starts_over(training, is_shared):
    shorter, longer = _settings(30, **training), _settings(3000, **training)
    assert (hindrance(shorter, longer) is None) == is_shared
    if not is_shared:
        assert hindrance(shorter, longer) == SCHEDULE


@pytest.mark.parametrize("more", [{"learning_rate": 0.1}, {"loss": "mse"}, {"batch_size": 5, "optimizer": "sgd"}])
def test_what_changes_a_number_is_another_beginning(more):
    assert beginning(_settings(30)) != beginning(_settings(30, **more))
    assert beginning(_settings(30)) != beginning(_settings(30, {"every": 10, "layers": "all"}))


def test_gradient_flow_has_no_beginning():
    flow = {"optimizer": "gradient_flow", "horizon": 1.0}
    assert beginning(canonical(TrialSettings.model_validate({"training": flow}))) is None


MEASURES = st.one_of(
    st.builds(lambda n: {"every": n}, st.integers(1, 12)),
    st.builds(lambda n, how: {"points": n, "spacing": how}, st.integers(1, 9), st.sampled_from(["log", "linear"])),
    st.builds(lambda steps: {"steps": steps}, st.lists(st.integers(0, 20), min_size=1, max_size=4)),
)


@given(MEASURES, MEASURES, st.integers(0, 20), st.integers(1, 20), st.booleans(), st.lists(st.integers(0, 20)))
def test_a_hindrance_is_that_no_step_could_be_copied(its, own, last, more, stops, kept):
    stop = {"stop": {"loss_below": 0.1}} if stops else {}
    shorter = _settings(last, its, **stop)
    longer = _settings(last + more, {**own, "weights": [step for step in kept if step <= last + more]}, **stop)
    assert (hindrance(shorter, longer) is None) == (copied_steps(shorter, longer) is not None)


def test_ten_million_steps_are_held_against_each_other_without_listing_them():
    longer = _settings(10_000_000, {"every": 10})
    for every, told in ((5, None), (3, MEASURED)):
        assert in_time(partial(hindrance, _settings(9_999_990, {"every": every}), longer), 0.5) == told


def test_shorter_points_are_those_that_differ_in_length_or_in_what_they_measure_when():
    axes = {"training.steps": [30, 10, 20], "training.weight_decay": [0, 0.1], "measure.every": [5, 10]}
    points = expand({"axes": axes}).points
    shorter = Shorter(points)

    def told(place):
        return points[place].axes["training.steps"], points[place].axes["training.weight_decay"]

    assert {told(place) for place in shorter.longer} == {(20, 0), (20, 0.1), (30, 0), (30, 0.1)}
    for place in shorter.longer:
        steps, decay = told(place)
        found = [told(other) for other in shorter.of(place)]
        assert {own for _, own in found} == {decay}
        assert [own for own, _ in found] == sorted((own for own, _ in found), reverse=True)
        assert {own for own, _ in found} == {one for one in (10, 20) if one < steps}
