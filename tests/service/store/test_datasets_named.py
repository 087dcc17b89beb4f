"""Shapes of however many uploads a grid names, in one statement of one parameter."""

import numpy as np

from service.store.datasets import add_dataset, dataset_shapes


def test_more_names_than_a_statement_may_have_parameters_are_looked_up(store):
    add_dataset(store, "known", "mine", {"x": np.zeros((3, 2)), "y": np.zeros((3, 1))})
    found = dataset_shapes(store, {"known", "a'b", 'a"b', "é", *(f"d{number}" for number in range(300_000))})
    assert found == {"known": {"x": (3, 2), "y": (3, 1)}}
