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
