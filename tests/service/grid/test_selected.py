"""A grid that names some trials is read back as exactly these."""

import pytest

from service.grid.document import parse_document
from service.grid.expansion import expand
from service.grid.selected import grid_of
from service.web.written_grids import as_yaml

TRIAL = {
    "data": {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]},
    "network": {"width": 4},
    "training": {"steps": 20},
}
GRIDS = {
    "a product": {"axes": {"network.depth": [2, 3], "training.weight_decay": [0, 0.1]}, "seeds": 2},
    "one point": {"seeds": [7]},
    "widths per layer": {"axes": {"network.width": [4, [3, 5]]}},
    "other sections": {"axes": {"data": [{"kind": "sparse_parity", "inputs": 6}, {"samples": 30, "spectrum": [3, 1]}]}},
    "a stop": {"axes": {"training.stop": [{"loss_below": 0.1}, {"loss_below": 0.2}]}},
    "optimisers": {"axes": {"training.optimizer": ["gd", "adam"], "training.learning_rate": [0.1, 0.2]}},
    "formulas": {
        "trial": TRIAL | {"training": {"steps": 20, "learning_rate": "= 0.1 / network.depth"}},
        "axes": {"network.depth": [2, 3]},
    },
}


def _trials(grid):
    return [(fingerprint, point.settings, seed) for _, point, seed, fingerprint in expand(grid).trials()]


@pytest.mark.parametrize("more", GRIDS.values(), ids=GRIDS)
def test_all_trials_of_a_grid_are_named_by_a_grid_that_reads_back_as_these(more):
    trials = _trials({"trial": TRIAL} | more)
    found = grid_of([(settings, seed) for _, settings, seed in trials], "again")
    assert found.beside == 0
    written = parse_document(as_yaml(found.grid).encode())
    assert {one for one, *_ in _trials(written)} == {one for one, *_ in trials}


@pytest.mark.parametrize("kept", [(0, 1, 2, 3), (0, 1, 6, 7), (2, 3), (0, 1, 2, 3, 4, 5)])
def test_some_points_with_all_their_seeds_are_named_exactly(kept):
    trials = [one for place, one in enumerate(_trials({"trial": TRIAL} | GRIDS["a product"])) if place in kept]
    found = grid_of([(settings, seed) for _, settings, seed in trials], "some")
    assert {one for one, *_ in _trials(found.grid)} == {one for one, *_ in trials} and found.beside == 0


def test_points_with_different_seeds_say_how_many_trials_come_beside():
    trials = _trials({"trial": TRIAL} | GRIDS["a product"])[:3]
    found = grid_of([(settings, seed) for _, settings, seed in trials], "three")
    assert found.beside == 1
    assert {one for one, *_ in trials} < {one for one, *_ in _trials(found.grid)}


def test_a_product_is_written_as_axes_and_a_part_of_it_as_one_group():
    trials = [(settings, seed) for _, settings, seed in _trials({"trial": TRIAL} | GRIDS["a product"])]
    assert set(grid_of(trials, "n").grid["axes"]) == {"network.depth", "training.weight_decay"}
    (group,) = grid_of(trials[:6], "n").grid["zip"]
    assert group == {"network.depth": [2, 2, 3], "training.weight_decay": [0.0, 0.1, 0.0]}
