"""How long a stack may be silent, and the shapes of uploads."""

import numpy as np
import pytest

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings
from service.store import datasets
from workers.shapes import Shapes, allowed_seconds


def _settings(width=4, **sections):
    document = {
        "data": {"samples": 2_000, "inputs": 32, "outputs": 4, "spectrum": [1, 1, 1, 1]},
        "network": {"depth": 3, "width": width, "activation": "relu"},
        "training": {"steps": 20},
    }
    return canonical(TrialSettings.model_validate(document | sections))


def _allowed(shapes, settings, lanes=1, factor=10.0, deadline=1.0):
    return allowed_seconds(settings, shapes.of(settings), lanes, factor=factor, deadline=deadline)


def test_a_larger_network_may_be_silent_for_longer_and_nobody_for_less_than_the_deadline(store):
    shapes, small, large = Shapes(store), _settings(4), _settings(2_000)
    assert _allowed(shapes, small) == 1.0
    assert 1.0 < _allowed(shapes, large) < 600.0
    assert _allowed(shapes, large, lanes=8) > 4 * _allowed(shapes, large)
    assert _allowed(shapes, large, factor=20.0) == pytest.approx(2 * _allowed(shapes, large))


def test_an_upload_has_the_shape_of_its_arrays_and_one_that_is_gone_has_none(store):
    datasets.add_dataset(store, "a" * 64, "mine", {"x": np.zeros((40, 3)), "y": np.ones((40, 2))})
    data = {"kind": "uploaded", "dataset_id": "a" * 64}
    settings = {**_settings(), "data": data}
    found = Shapes(store).of(settings)
    assert found is not None and (found.samples, found.form, found.outputs) == (40, (3,), 2)
    gone = {**settings, "data": data | {"dataset_id": "0" * 64}}
    assert Shapes(store).of(gone) is None
    assert allowed_seconds(gone, None, 4, factor=10.0, deadline=60.0) == 600.0
