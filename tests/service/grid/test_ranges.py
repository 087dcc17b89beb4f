"""Ranges and repeats in place of long lists: on axes, on whole numbers, and in settings that are lists."""

import pytest

from service.errors import InvalidGrid
from service.grid.canonical import canonical
from service.grid.expansion import expand
from service.grid.extension import extended
from service.grid.trial_settings import TrialSettings


@pytest.mark.parametrize(
    ("path", "written", "expected"),
    [
        ("network.width", {"log": [8, 512, 5]}, [8, 23, 64, 181, 512]),
        ("training.steps", {"log": [100, 1000, 4]}, [100, 215, 464, 1000]),
        ("network.depth", {"linear": [2, 4, 9]}, [2, 3, 4]),
        ("network.depth", {"log": [1, 8, 10]}, [1, 2, 3, 4, 5, 6, 8]),
        ("training.batch_size", {"linear": [10, 25, 3]}, [10, 18, 25]),
        ("data.seed", {"linear": [0, 3, 4]}, [0, 1, 2, 3]),
        ("data.samples", {"log": [1e2, 1.0e3, 2]}, [100, 1000]),
        ("training.weight_decay", {"linear": [0, 0.5, 3]}, [0, 0.25, 0.5]),
        ("data.test_fraction", {"linear": [0.1, 0.5, 3]}, [0.1, 0.3, 0.5]),
    ],
)
def test_a_range_on_a_whole_number_is_rounded_and_on_a_number_is_not(path, written, expected):
    trial = {"training": {"optimizer": "sgd", "batch_size": 10}} if path == "training.batch_size" else {}
    if path == "data.test_fraction":
        trial = {"data": {"kind": "iris"}}
    found = expand({"trial": trial, "axes": {path: written}}).axes[path]
    assert list(found) == expected
    assert {type(one) for one in found} == {float if path in ("training.weight_decay", "data.test_fraction") else int}


def test_ranges_that_move_together_keep_their_lengths():
    grid = {"zip": [{"network.width": {"log": [1, 4, 4]}, "training.learning_rate": {"log": [0.001, 1, 4]}}]}
    points = expand(grid).points
    assert [point.axes["network.width"] for point in points] == [1, 2, 3, 4]
    grid = {"zip": [{"network.depth": {"linear": [1, 2, 4]}, "training.learning_rate": {"log": [0.001, 1, 4]}}]}
    assert [point.axes["network.depth"] for point in expand(grid).points] == [1, 1, 2, 2]


def test_an_extended_whole_number_axis_is_rounded_too():
    wider = extended({"axes": {"network.width": {"log": [8, 32, 3]}}}, {"network.width": {"log": [8, 512, 5]}}, 0)
    assert wider["axes"]["network.width"] == [8, 16, 32, 23, 64, 181, 512]


@pytest.mark.parametrize(
    ("section", "key", "written", "expected"),
    [
        ("data", "covariance", {"repeat": [[1, 2], [0.01, 8]]}, [1.0] * 2 + [0.01] * 8),
        ("data", "covariance", {"repeat": [[1, 10.0]]}, [1.0] * 10),
        ("data", "covariance", {"linear": [1, 10, 10]}, [float(one) for one in range(1, 11)]),
        ("data", "covariance", {"log": [1, 1e-9, 10]}, [float(f"1e-{one}") for one in range(10)]),
        ("data", "spectrum", {"repeat": [[2, 3]]}, [2.0] * 3),
        ("measure", "exponents", {"linear": [0.25, 1, 4]}, [0.25, 0.5, 0.75, 1.0]),
        ("measure", "weights", {"log": [1, 1000, 4]}, [1, 10, 100, 1000]),
        ("measure", "weights", {"linear": [0, 5, 3]}, [0, 2, 5]),
        ("measure", "steps", {"log": [1, 6000, 4]}, [1, 18, 330, 6000]),
    ],
)
def test_a_setting_that_is_a_list_takes_ranges_and_repeats_and_is_the_trial_that_its_list_is(
    section, key, written, expected
):
    made, listed = (canonical(TrialSettings.model_validate({section: {key: one}})) for one in (written, expected))
    assert made == listed and made[section][key] == expected


def test_clusters_take_repeats():
    data = {"kind": "clusters", "strengths": {"repeat": [[4, 1], [1, 2]]}, "counts": {"repeat": [[1, 1], [64, 2]]}}
    assert canonical(TrialSettings.model_validate({"data": data}))["data"]["counts"] == [1, 64, 64]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"repeat": 3}, "repeat takes a list of .value, count. pairs"),
        ({"repeat": [[1, 2, 3]]}, "repeat takes a list"),
        ({"repeat": [[1, -1]]}, "repeat takes a list"),
        ({"repeat": [[1, 0.5]]}, "repeat takes a list"),
        ({"repeat": [["a", 3]]}, "repeat takes a list"),
        ({"repeat": [[1, 10**9]]}, "at most 100000"),
        ({"repeat": [[1, 60_000], [1, 60_000]]}, "at most 100000"),
        ({"repeat": []}, "repeat takes a list"),
        ({"repeat": [[0, 10]]}, "greater than 0"),
        ({"log": [0, 1, 10]}, "two positive ends"),
    ],
)
def test_a_wrong_repeat_is_refused_where_it_stands(written, told):
    with pytest.raises(InvalidGrid, match=told) as error:
        expand({"axes": {"data.covariance": [written]}})
    assert error.value.errors[0]["path"].startswith("axes.data.covariance[0]")


def test_ranges_that_would_fill_the_memory_are_refused_while_they_are_counted():
    data = {"inputs": 50_000, "covariance": {"repeat": [[1, 50_000]]}}
    grid = {"trial": {"data": data}, "axes": {"data.noise": {"linear": [0, 1, 50_000]}}}
    # 2.5e9 numbers, were they all made
    with pytest.raises(InvalidGrid, match="more than 400,000,000 characters: take fewer trials"):
        expand(grid)


def test_an_axis_of_repeats_moves_with_the_inputs_and_excludes_by_what_it_means():
    inputs = [20, 40]
    grid = {
        "zip": [
            {"data.inputs": inputs, "data.covariance": [{"repeat": [[1, 10], [0.01, n - 10]]} for n in inputs]},
        ],
        "exclude": [{"data.covariance": {"repeat": [[1, 10], [0.01, 10]]}}],
    }
    expansion = expand(grid)
    assert [point.shape.inputs for point in expansion.points] == [40] and expansion.ignored == ()
