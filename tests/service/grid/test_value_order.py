"""The one order of an axis' values."""

import pytest

from service.grid.value_order import ValueOrder

GRID = {
    "trial": {"network": {"activation": "relu"}},
    "axes": {
        "init.scheme": ["orthogonal", "balanced", "he"],
        "training.weight_decay": [0.1, 0, None],
        "network": [{"width": [8, 4]}, {"width": [4, 8]}, {"width": 4}],
    },
    "zip": [{"training.optimizer": ["sgdw", "adam"], "training.learning_rate": [0.1, 0.01]}],
    "include": [{"network.activation": "tanh"}, {"init.scheme": "uniform"}],
}


@pytest.mark.parametrize(
    ("path", "mixed", "ordered"),
    [
        ("init.scheme", ["he", "balanced", "uniform", "orthogonal", "he"], ["orthogonal", "balanced", "he", "uniform"]),
        ("training.weight_decay", [None, 0.1, 0], [0, 0.1, None]),
        ("training.learning_rate", [0.1, 0.01], [0.01, 0.1]),
        ("training.optimizer", ["adam", "sgdw"], ["sgdw", "adam"]),
        ("network.width", [[4, 8], 4, [8, 4]], [4, [8, 4], [4, 8]]),
        ("network.activation", ["tanh", "relu"], ["relu", "tanh"]),
        ("data.kind", ["parity", "digits"], ["digits", "parity"]),
    ],
)
def test_numbers_go_by_size_and_words_as_the_grid_lists_them(path, mixed, ordered):
    assert ValueOrder(lambda: [GRID]).sorted(path, mixed) == ordered


def test_words_of_a_further_grid_come_behind_those_of_the_first():
    further = {"axes": {"init.scheme": ["he", "uniform", "scaled"]}}
    order = ValueOrder(lambda: [GRID, further])
    assert order.sorted("init.scheme", ["scaled", "he", "orthogonal"]) == ["orthogonal", "he", "scaled"]


def test_no_grid_is_read_for_numbers():
    def read():
        raise AssertionError("read")

    assert ValueOrder(read).sorted("network.depth", [3, 2, None]) == [2, 3, None]
