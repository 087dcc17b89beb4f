"""Widening a grid: unions that keep what was there in its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidGrid
from service.grid.expansion import expand
from service.grid.extension import extended, lengthened

GRID = {"trial": {"network": {"width": 4}}, "axes": {"training.weight_decay": {"linear": [0, 0.2, 3]}}, "seeds": [5, 1]}


def test_own_values_come_first_and_equal_numbers_are_one():
    wide = extended(GRID, {"training.weight_decay": [0.3, 0.1, 0], "network.width": [4.0, 8]}, 3)
    assert wide["axes"] == {"training.weight_decay": [0, 0.1, 0.2, 0.3], "network.width": [4, 8]}
    assert wide["seeds"] == [5, 1, 0, 2]


def test_a_setting_with_its_default_begins_with_the_default():
    wide = extended(GRID, {"network.depth": [5]}, 0)
    assert wide["axes"]["network.depth"] == [3, 5] and wide["seeds"] == [5, 1]


def test_zip_groups_and_whole_sections_are_refused():
    zipped = {"zip": [{"network.width": [1, 2], "training.steps": [3, 4]}]}
    for document, path in ((zipped, "network.width"), (GRID, "network")):
        with pytest.raises(InvalidGrid) as refused:
            extended(document, {path: [{"depth": 2}] if path == "network" else [3]}, 0)
        assert refused.value.errors[0]["path"] == f"axes.{path}"


@given(st.lists(st.sampled_from([0, 0.1, 0.5, 1, 2]), min_size=1, unique=True), st.integers(0, 4))
def test_every_trial_of_the_grid_is_in_the_wider_one(values, seeds):
    narrow = {prints for *_, prints in expand(GRID).trials()}
    wide = {prints for *_, prints in expand(extended(GRID, {"training.weight_decay": values}, seeds)).trials()}
    assert narrow <= wide


@pytest.mark.parametrize(
    ("more", "lengths"),
    [
        ({}, [6000, 9000]),
        ({"trial": {"training": {"steps": 10}}}, [10, 9000]),
        ({"axes": {"training.steps": [20, 4000, 30]}}, [20, 4000, 30, 9000]),
        ({"axes": {"training.steps": {"log": [10, 1000, 3]}}}, [10, 100, 1000, 9000]),
    ],
)
def test_a_length_goes_behind_those_that_a_grid_has(more, lengths):
    wide = lengthened({**GRID, **more}, {"network.depth": [5]}, 3, 9000)
    assert wide["axes"]["training.steps"] == lengths
    assert wide["axes"]["network.depth"] == [3, 5] and wide["seeds"] == [5, 1, 0, 2]


@pytest.mark.parametrize(
    ("more", "axes", "told"),
    [
        ({}, {}, "have 6000 steps"),
        ({"axes": {"training.steps": [20, 7000]}}, {}, "have 7000 steps"),
        ({"axes": {"training.steps": ["= 3 * network.depth"]}}, {}, "follows from other settings"),
        ({}, {"training.steps": [7000]}, "give one of them"),
        ({"zip": [{"training.steps": [3, 4], "network.width": [1, 2]}]}, {}, "zip group"),
    ],
)
def test_a_length_that_is_none_is_refused(more, axes, told):
    with pytest.raises(InvalidGrid, match=told):
        lengthened({**GRID, **more}, axes, 0, 6000)


def test_a_grid_that_adds_seeds_by_itself_is_given_a_number_to_begin_with():
    until = {"until": {"metric": "alignment", "ci95": 0.01}, "at_most": 20}
    assert extended({"seeds": until}, {}, 0)["seeds"] == {**until, "at_least": 5}
    assert extended({"seeds": until}, {}, 30)["seeds"] == {**until, "at_least": 30, "at_most": 30}
    with pytest.raises(InvalidGrid, match="seeds: this grid adds seeds"):
        extended({"seeds": until}, {}, [7])
