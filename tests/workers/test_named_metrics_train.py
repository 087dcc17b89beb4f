"""Metrics that are measured where they are named, through training: of the right data, from the right beginning."""

import math
from typing import Any

import pytest

from service.grid.expansion import expand
from workers.blocks import Again, Lane, Stack
from workers.remeasuring import remeasure
from workers.training import train

OF_LAYERS = ("feature_velocity", "pearson_half", "pearson_half_zero_diagonal")
LAYERED = (*OF_LAYERS, "gram_agop_subspace@2", "teacher_overlap@2")
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


@pytest.mark.parametrize(
    "network",
    [
        {"depth": 2, "width": 8, "activation": "tanh", "bias": True},
        {"kind": "resmlp", "depth": 3, "width": 8, "activation": "gelu", "norm": "layer"},
    ],
)
def test_kept_weights_have_the_numbers_that_training_would_have_measured(network):
    trial = {
        "data": {"kind": "multi_index", "inputs": 6, "samples": 40},
        "network": network,
        "training": {"steps": 12, "learning_rate": 0.02, "weight_decay": 0.1},
        "measure": {"steps": [5, 12], "layers": [1, 2], "metrics": [*LAYERED, *OF_NETWORK], "weights": [5, 12]},
    }
    (point,) = expand({"name": "g", "trial": trial, "seeds": 1}).points
    trained = [*train(Stack((Lane(point.settings, 3), Lane(point.settings, 4))))]
    files = [file for block in trained for file in block.weights]
    lanes = tuple(
        Lane(point.settings, seed, kept=tuple((step, content) for of, step, content in files if of == lane))
        for lane, seed in enumerate((3, 4))
    )
    again = [*remeasure(Stack(lanes, {}, Again((*LAYERED, *OF_NETWORK), (1, 2))))]

    def rows(blocks: list, part: str) -> dict:
        """Values by lane, step, layer and name."""
        found = {}
        for row in (row for block in blocks for row in getattr(block, part).to_pylist()):
            key = (row.pop("lane"), row.pop("step"), row.pop("layer", 0), row.pop("name", ""))
            found[key] = {name: value for name, value in row.items() if name in (*OF_NETWORK, *OF_LAYERS, "value")}
        return {key: dict(sorted(found[key].items())) for key in sorted(found)}

    for part in ("network", "layers", "parametrised"):
        assert repr(rows(again, part)) == repr(rows(trained, part)) != "{}"


def test_feature_velocity_is_the_change_of_the_gram_matrix_over_a_short_time():
    """Along gradient flow, with decay; M is diagonal where a layer has one input, so that its norm says all."""
    trial = {
        "data": {"kind": "single_index", "inputs": 1, "samples": 30, "link": "tanh"},
        "network": {"depth": 2, "width": 5, "activation": "tanh"},
        "training": {"optimizer": "gradient_flow", "horizon": 0.002, "weight_decay": 0.1},
        "measure": {"points": 3, "spacing": "linear", "metrics": ["feature_velocity", "gram_norm"]},
    }
    rows, layers = _rows(trial, lanes=1)
    times = [row["time"] for row in rows]
    sizes, speeds = layers[0, 1, "gram_norm"], layers[0, 1, "feature_velocity"]
    assert times == pytest.approx([0, 0.001, 0.002])
    assert abs(sizes[2] - sizes[0]) / (times[2] - times[0]) == pytest.approx(speeds[1], rel=1e-5)
