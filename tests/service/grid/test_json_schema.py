"""The published schema lets through every grid that ships, and finds what an editor should underline."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from service.api.grid_bodies import EXAMPLE, EXAMPLE_YAML
from service.grid.help import settings_help
from service.grid.json_schema import grid_schema

PRESETS = sorted((Path(__file__).parents[3] / "service" / "presets").glob("*.yaml"))
SCHEMA = jsonschema.Draft202012Validator(grid_schema())


def _wrong(grid):
    return list(SCHEMA.iter_errors(grid))


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(grid_schema())
    assert len(json.dumps(grid_schema())) < 200_000


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_fits_it(preset):
    assert _wrong(yaml.safe_load(preset.read_text())) == []


@pytest.mark.parametrize(
    "grid",
    [
        EXAMPLE,
        yaml.safe_load(EXAMPLE_YAML),
        {},
        {"trial": None, "axes": None},
        {"axes": {"training.learning_rate": {"log": [1e-3, 1, 5]}, "network.width": {"linear": [8, 64, 3]}}},
        {"axes": {"training.layers.1.learning_rate": [0.1, 0.2], "data.covariance": [[1, 1], [2, 1]]}},
        {"trial": {"data": {"covariance": {"repeat": [[1, 10], [0.01, 190]]}}, "training": {"steps": 6e3}}},
        {"zip": [{"network.depth": [2, 3], "network.width": [4, 8]}], "seeds": [3, 5]},
        {"trial": {"measure": {"inputs": ["test", {"probes": 9, "scale": 0.5}]}}},
        {"trial": {"measure": {"inputs": [f"data-{'0' * 64}", {"dataset": "0" * 64}, "probes-9-0-0.5"]}}},
        {"trial": {"measure": {"inputs": [{"probes": "= 2 * data.samples"}]}}},
        {"trial": {"training": {"steps": "= 20 / training.learning_rate", "stop": {"loss_below": "= 1 / 8"}}}},
        {"axes": {"training.steps": ["= 20 / training.learning_rate", 5]}},
        {"trial": {"network": {"width": ["= 2 * data.inputs", 3]}}},
        {"sample": {"count": 9, "ranges": {"network.width": {"integers": [2, 9]}, "network.activation": ["relu"]}}},
        {"sample": {"count": 9, "method": "random", "ranges": {"training.learning_rate": {"log": [1e-3, 1]}}}},
        {"exclude": [{"network.depth": [2, 3]}], "include": [{"network.depth": 5}], "seeds": {"until": {}}},
    ],
)
def test_what_the_service_reads_fits_it(grid):
    assert _wrong(grid) == []


@pytest.mark.parametrize(
    ("grid", "at"),
    [
        ({"trail": {}}, []),
        ({"trial": {"network": {"dept": 3}}}, ["trial"]),
        ({"trial": {"training": {"optimizer": "adm"}}}, ["trial"]),
        ({"trial": {"training": {"learning_rate": -1}}}, ["trial"]),
        ({"axes": {"depth": [1]}}, ["axes"]),
        ({"axes": {"network.activation": ["rellu"]}}, ["axes"]),
        ({"axes": {"training.learning_rate": {"log": [1, 2]}}}, ["axes"]),
        ({"seeds": 1.5}, ["seeds"]),
        ({"trial": {"measure": {"inputs": ["tset"]}}}, ["trial"]),
        ({"trial": {"measure": {"inputs": [{"probs": 9}]}}}, ["trial"]),
        ({"trial": {"measure": {"inputs": [{"dataset": "mine"}]}}}, ["trial"]),
        ({"trial": {"training": {"steps": "20"}}}, ["trial"]),
        ({"sample": {"count": 9}}, ["sample"]),
        ({"sample": {"count": 9, "ranges": {"training.learning_rate": {"log_unifrom": [1, 2]}}}}, ["sample"]),
        ({"sample": {"cuont": 9, "ranges": {"training.learning_rate": {"log_uniform": [1, 2]}}}}, ["sample"]),
    ],
)
def test_what_is_misspelt_or_out_of_bounds_does_not(grid, at):
    wrong = _wrong(grid)
    assert wrong and [*wrong[0].absolute_path] == at


def test_every_setting_is_completed_in_the_trial_block_and_on_axes():
    schema = grid_schema()
    for one in settings_help():
        section, name = one.path.split(".")
        assert name in schema["$defs"][section]["properties"]
        assert one.path in schema["$defs"]["axes"]["properties"]
