"""Metrics that are measured where they are named, through training: of the right data, from the right beginning."""

import math
from typing import Any

import pytest

from service.grid.expansion import expand
from workers.blocks import Lane, Stack
from workers.training import train

LAYERED = ("pearson_half", "pearson_half_zero_diagonal", "gram_agop_subspace@2", "teacher_overlap@2")
OF_NETWORK = ("sharpness", "ntk_alignment", "ntk_movement")


def _rows(trial: dict[str, Any], lanes: int = 2) -> tuple[list[dict], dict[tuple[int, int, str], list[float]]]:
    """Rows of the networks, and (lane, layer, metric) -> values by step."""
    (point,) = expand({"name": "g", "trial": trial, "seeds": 1}).points
    network: list[dict] = []
    layers: dict[tuple[int, int, str], list[float]] = {}
    for block in train(Stack(tuple(Lane(point.settings, seed) for seed in range(lanes)))):
        network += block.network.to_pylist()
        for row in block.layers.to_pylist():
            for name in row.keys() - {"lane", "step", "layer"}:
                layers.setdefault((row["lane"], row["layer"], name), []).append(row[name])
        for row in block.parametrised.to_pylist():
            layers.setdefault((row["lane"], row["layer"], row["name"]), []).append(row["value"])
    return network, layers


@pytest.mark.parametrize(
    ("data", "network"),
    [
        ({"kind": "multi_index", "inputs": 6, "samples": 60}, {"depth": 2, "width": 8, "activation": "tanh"}),
        ({"kind": "linear_teacher", "inputs": 6, "samples": 60, "spectrum": [2, 1]}, {"depth": 3, "width": 8}),
        (
            {"kind": "sparse_parity", "inputs": 6, "order": 2},
            {"kind": "resmlp", "depth": 3, "width": 8, "activation": "gelu"},
        ),
        (
            {"kind": "conv_teacher", "size": 4, "patch": 2, "samples": 30},
            {"kind": "convnet", "depth": 2, "channels": 5, "kernel": 2, "activation": "tanh"},
        ),
    ],
)
def test_every_kind_of_network_has_them_where_its_data_have_a_teacher(data, network):
    trial = {
        "data": data,
        "network": network,
        "training": {"steps": 40, "learning_rate": 0.02},
        "measure": {"steps": [0, 20], "layers": "all", "metrics": [*LAYERED, *OF_NETWORK]},
    }
    rows, layers = _rows(trial)
    assert [row["step"] for row in rows] == [0, 0, 20, 20, 40, 40]
    for row in rows:
        assert not any(math.isnan(row[name]) for name in OF_NETWORK), row
        assert (row["ntk_movement"] == 0) == (row["step"] == 0)
    for lane in range(2):
        overlaps = layers[lane, 1, "teacher_overlap@2"]
        assert all(0 <= value <= 1 + 1e-12 for value in overlaps) and overlaps[2] != overlaps[0]
        if data["kind"] == "linear_teacher":
            assert overlaps[2] > 0.8 > overlaps[0]
        assert all(map(math.isnan, layers[lane, 2, "teacher_overlap@2"]))


def test_data_without_a_teacher_have_no_overlap_with_one():
    trial = {
        "data": {"kind": "iris"},
        "network": {"depth": 2, "width": 6, "activation": "relu"},
        "training": {"steps": 3},
        "measure": {"every": 3, "metrics": ["teacher_overlap@1", "gram_agop_subspace@1", "ntk_alignment"]},
    }
    rows, layers = _rows(trial, lanes=1)
    assert all(map(math.isnan, layers[0, 1, "teacher_overlap@1"]))
    assert not any(map(math.isnan, layers[0, 1, "gram_agop_subspace@1"]))
    assert all(0 < row["ntk_alignment"] <= 1 for row in rows)
