"""What figures and tables say about trials that they pool."""

import itertools

import pytest

from service.questions.pooling import Counted, Range, pooling_of

POINTS = list(itertools.product([2, 3, 4], ["tanh", "relu", "linear", "cubic"]))
VALUES = {
    "network.depth": {key: repr(depth) for key, (depth, _) in enumerate(POINTS)},
    "network.activation": {key: repr(word) for key, (_, word) in enumerate(POINTS)},
    "training.steps": {key: repr(100 * depth) for key, (depth, _) in enumerate(POINTS)},
}
AXES = list(VALUES)


def grouped(*groups):
    return pooling_of([[Counted(key, seed) for key, seed in group] for group in groups], AXES, VALUES)


def test_a_mixture_of_settings_is_not_called_seeds():
    found = grouped(itertools.product(range(12), range(5)), itertools.product(range(12), range(5)))
    assert found.says() == "60 trials: 5 seeds x 12 settings; pooled over depth, activation"


def test_groups_of_one_setting_are_seeds():
    assert grouped(*(itertools.product([key], range(5)) for key in range(12))).says() == "5 seeds"
    assert grouped([(0, 0)], [(1, 0), (1, 1)]).says() == "1 to 2 seeds"
    assert grouped([(0, 0)], []).says() == "1 seed"
    assert grouped().says() == "0 seeds"


def test_where_settings_have_different_numbers_of_seeds_no_product_is_claimed():
    found = grouped([(0, 0), (0, 1), (1, 0)])
    assert found.says() == "3 trials: 2 settings, up to 2 seeds of each; pooled over activation"


def test_where_fewer_trials_have_a_value_than_there_are_the_smaller_number_is_told():
    found = grouped(itertools.product(range(4), range(5)))
    assert found.says(Range(13, 20)) == "13 to 20 trials: 4 settings, up to 5 seeds of each; pooled over activation"


@pytest.mark.parametrize("order", list(itertools.permutations(AXES)))
def test_an_axis_that_follows_from_another_is_not_named_beside_it(order):
    found = pooling_of([[Counted(key, 0) for key in range(12)]], order, VALUES)
    assert len(found.over) == 2 and "network.activation" in found.over


def test_the_last_parts_of_two_paths_that_read_the_same_are_written_in_full():
    values = {"training.dtype": {0: "'a'", 1: "'b'", 2: "'b'"}, "measure.dtype": {0: "'a'", 1: "'a'", 2: "'b'"}}
    found = pooling_of([[Counted(key, 0) for key in range(3)]], list(values), values)
    assert found.says().endswith("pooled over training.dtype, measure.dtype")
