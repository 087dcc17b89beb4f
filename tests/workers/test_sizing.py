"""How many trainers a cluster gets."""

import pytest

from workers.sizing import Wanted, wanted_trainers


@pytest.mark.parametrize(
    ("resources", "trainers", "per_gpu", "wanted"),
    [
        ({"CPU": 16.0}, None, 1, Wanted(16, 0)),
        ({"CPU": 16.0, "GPU": 2.0}, None, 1, Wanted(14, 2)),
        ({"CPU": 16.0, "GPU": 2.0}, None, 4, Wanted(8, 8)),
        ({"CPU": 16.0, "GPU": 2.0}, 0, 1, Wanted(0, 2)),
        ({"CPU": 4.0}, 64, 1, Wanted(64, 0)),
        ({"CPU": 1.0, "GPU": 1.0}, None, 1, Wanted(0, 1)),
        ({}, None, 1, Wanted(1, 0)),
    ],
    ids=["one per CPU", "a GPU takes a CPU", "shared GPUs", "GPUs alone", "asks for more nodes", "one of each", "none"],
)
def test_a_cluster_gets_trainers_for_what_it_has(resources, trainers, per_gpu, wanted):
    assert wanted_trainers(resources, trainers, per_gpu) == wanted
