"""Lanes that fail before their first step are found, each with its own error."""

import pytest
import torch

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from workers.blocks import Lane, Stack
from workers.refused import is_passing, refused_lanes
from workers.training import train


def _lane(seed, **data):
    made = {"samples": 20, "inputs": 4, "outputs": 2, "spectrum": [2, 1]} | data
    document = {"data": made, "network": {"depth": 2, "width": 4}, "training": {"steps": 4}}
    return Lane(canonical(TrialSettings.model_validate(document)), seed)


def _gone(seed):
    """A lane whose upload was deleted."""
    lane = _lane(seed)
    return Lane({**lane.settings, "data": {**lane.settings["data"], "kind": "uploaded", "dataset_id": "f00"}}, seed)


def test_only_lanes_that_fail_by_themselves_are_named():
    stack = Stack((_lane(0), _gone(1), _lane(2), _gone(3)))
    with pytest.raises(KeyError):
        list(train(stack))
    found = refused_lanes(stack, "cpu", 60.0)
    assert set(found) == {1, 3}
    assert all("KeyError" in said for said in found.values())


def test_without_time_nobody_is_named():
    assert refused_lanes(Stack((_gone(0), _gone(1))), "cpu", -1.0) == {}


def test_too_little_memory_says_nothing_about_a_lane():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50)
    assert is_passing(raised.value)
    assert all(is_passing(error) for error in (MemoryError(), OSError(28, "no space"), torch.OutOfMemoryError()))
    assert not any(is_passing(error) for error in (KeyError("f00"), ValueError(), RuntimeError("shapes differ")))
