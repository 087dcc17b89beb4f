"""Grids written as YAML read back as they were, and read well."""

import pytest

from service.grid.document import parse_document
from service.presets import get_preset, list_presets
from service.web.written_grids import as_yaml


@pytest.mark.parametrize("name", [one.name for one in list_presets()])
def test_every_preset_reads_back_as_it_was(name):
    grid = get_preset(name).grid
    assert parse_document(as_yaml(grid).encode()) == grid


def test_keys_stand_in_the_order_of_the_format_and_leaves_on_a_line():
    grid = {"seeds": 3, "axes": {"network.depth": [2, 3]}, "trial": {"training": {"steps": 5}, "data": {"samples": 9}}}
    assert as_yaml(grid | {"name": "on"}) == (
        "name: 'on'\ntrial:\n  data: {samples: 9}\n  training: {steps: 5}\naxes:\n  network.depth: [2, 3]\nseeds: 3\n"
    )


def test_leaves_that_do_not_fit_on_a_line_have_one_each():
    claim = {
        "id": "restored",
        "says": "with a weight decay of 0.05 or more it holds",
        "metric": "alignment",
        "every_trial": ">= 1",
    }
    text = as_yaml({"claims": [claim | {"where": "training.weight_decay >= 0.05"}, {"id": "short"}]})
    assert "\n  every_trial: '>= 1'\n  where: training.weight_decay >= 0.05\n- {id: short}\n" in text


@pytest.mark.parametrize(
    "value", [1e-05, 1e22, 0.1 + 0.2, "1e5", "no", "null", "a: b", "line\nline", True, None, [1e-9]]
)
def test_values_keep_their_kind(value):
    grid = {"trial": {"training": {"learning_rate": value}}, "notes": "x\ny\n"}
    assert parse_document(as_yaml(grid).encode()) == grid
