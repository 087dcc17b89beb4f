"""What is looked at once for many points says of each of them what looking at it alone would."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_expansion import Invalid, Plain, plain_points, written

from nfa_kernels import names
from service.errors import InvalidGrid
from service.grid import canonical
from service.grid.axes import SECTIONS
from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.grid.free_settings import FREE
from service.grid.points import Point

LIMITS = Limits(steps=10_000)
FREE_VALUES: dict[str, list[Any]] = {
    "data.noise": [0, 0.0, 0.5, 1],
    "data.offset": [0, 0.25, 2],
    "data.radius": [1, 1.0, 0.5],
    "data.seed": [None, 0, 5, 5.0],
    "network.slope": [0.1, 0, -0.5, 1],
    "init.scale": [0, 1, 1.0, 1e-300],
    "init.first": [0, -0.0, -2, 1.5],
    "init.last": [1, -1.5, 0.0],
    "training.learning_rate": [0.02, 0.5, 1, 1e-5],
    "training.weight_decay": [0, 0.0, 0.1, 1e-3],
    "training.momentum": [0, 0.5, 0.9],
    "training.beta1": [0, 0.8, 0.9],
    "training.beta2": [None, 0, 0.99],
    "training.epsilon": [None, 1e-8, 1e-4],
    "training.rho": [0, 0.5],
    "training.huber_delta": [1, 2.5],
    "training.label_smoothing": [0, 0.0, 0.1],
    "training.horizon": [1, 20.5],
    "training.rtol": [1e-10, 1e-6],
    "training.atol": [1e-12, 1e-6],
    "training.schedule_factor": [0.1, 2],
    "training.steps": [0, 1, 10, 100.0, 10_001],
    "measure.points": [None, 1, 5, 60.0],
    "measure.every": [None, 1, 100],
}
DECIDING: dict[str, list[Any]] = {
    "data.kind": ["linear_teacher", "clusters", "multi_index", "sparse_parity", "iris", "modular_addition"],
    "data.samples": [20, 30],
    "data.inputs": [10, 12],
    "data.test_samples": [0, 5],
    "data.spectrum": [[1, 0.5], {"linear": [1, 2, 3]}, [3.0, 2.0]],
    "network.kind": ["mlp", "resmlp"],
    "network.depth": [1, 2, 3],
    "network.width": [4, 6, [4], [4, 5]],
    "network.activation": ["linear", "relu", "leaky_relu"],
    "network.bias": [False, True],
    "network.parameterization": ["standard", "mup"],
    "init.scheme": ["he", "layer_scales", "balanced"],
    "training.optimizer": ["gd", "adam", "adagrad", "momentum", "lion", "rmsprop", "gradient_flow", "sgd"],
    "training.batch_size": [None, 5],
    "training.loss": ["half", "huber", "cross_entropy"],
    "training.dtype": ["float64", "float32"],
    "training.schedule": ["constant", "step", "cosine", "warmup"],
    "training.schedule_steps": [None, 3],
    "training.decay_biases": [True, False],
    "training.stop": [None, {"loss_below": 0.5}],
    "training.layers.1.learning_rate": [None, 0.02, 0.5],
    "training.layers.1.weight_decay": [0, 0.1],
    "training.device": ["auto", "cpu"],
    "measure.weights": [[], [0], [10]],
    "measure.steps": [None, [0, 5]],
    "measure.spacing": ["log", "linear"],
    "measure.layers": ["first", "all", [1, 2]],
    "measure.exponents": [[], [0.25]],
    "measure.metrics": ["default", "all", ["alignment", "agop_singular_value@2"]],
}
VALUES = FREE_VALUES | DECIDING


def told(point: Point) -> Plain:
    document = json.dumps({name: point.settings[name] for name in SECTIONS})
    return Plain(document, point.digest, point.stack_key, point.shape, point.device, written(point.axes))


def assert_same(grid: dict[str, Any]) -> None:
    try:
        wanted = plain_points(grid, LIMITS)
    except Invalid:
        with pytest.raises(InvalidGrid):
            expand(grid, LIMITS)
        return
    if not wanted:
        with pytest.raises(InvalidGrid, match="no point is left"):
            expand(grid, LIMITS)
        return
    found = expand(grid, LIMITS)
    assert [told(point) for point in found.points] == wanted
    for point in found.points:
        assert point.text == canonical.compact(point.settings)
    for path, values in found.axes.items():
        assert list(map(repr, values)) == list(dict.fromkeys(repr(point.axes[path]) for point in found.points))


@st.composite
def grids(draw: st.DrawFn) -> dict[str, Any]:
    """A trial block, axes, zip groups, points added and dropped, most of it of free settings."""
    paths = draw(
        st.lists(st.sampled_from(sorted(FREE_VALUES)), unique=True, min_size=1, max_size=4).flatmap(
            lambda free: st.lists(st.sampled_from(sorted(DECIDING)), unique=True, max_size=4).map(
                lambda one: free + one
            )
        )
    )
    block: dict[str, Any] = {}
    for path in draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=4)):
        section, *keys = path.split(".")
        inner = block.setdefault(section, {})
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = draw(st.sampled_from(VALUES[path]))
    lists = {path: draw(st.lists(st.sampled_from(VALUES[path]), min_size=1, max_size=3)) for path in paths}
    grid: dict[str, Any] = {"trial": block, "axes": lists}
    if len(paths) > 2 and draw(st.booleans()):
        group = {path: lists.pop(path) for path in paths[:2]}
        length = min(map(len, group.values()))
        grid["zip"] = [{path: values[:length] for path, values in group.items()}]
    entry = st.lists(st.sampled_from(paths), unique=True, min_size=1, max_size=2).flatmap(
        lambda some: st.fixed_dictionaries({path: st.sampled_from(VALUES[path]) for path in some})
    )
    grid["include"] = draw(st.lists(entry, max_size=2))
    grid["exclude"] = draw(st.lists(entry, max_size=3))
    return grid


@given(grids())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_points_that_share_work_are_those_built_one_by_one(grid: dict[str, Any]) -> None:
    assert_same(grid)


BASES: dict[str, dict[str, Any]] = {
    **{f"optimizer {name}": {"training": {"optimizer": name}} for name in names.OPTIMIZERS},
    **{f"decayed {name}": {"training": {"optimizer": name, "weight_decay": 0.1}} for name in ("gd", "adamw", "muon")},
    **{f"schedule {name}": {"training": {"schedule": name}} for name in names.SCHEDULES},
    **{f"data {name}": {"data": {"kind": name}} for name in names.DATA_KINDS if name != "uploaded"},
    **{f"scheme {name}": {"init": {"scheme": name}} for name in names.INITIALISATIONS if name != "given"},
    **{f"activation {name}": {"network": {"activation": name}} for name in names.ACTIVATIONS},
    **{f"kind {name}": {"network": {"kind": name}} for name in names.NETWORK_KINDS},
    "a huber loss": {"training": {"loss": "huber"}},
    "classes": {"data": {"kind": "iris"}, "training": {"loss": "cross_entropy"}},
    "single precision that decays": {
        "network": {"activation": "relu"},
        "training": {"dtype": "float32", "weight_decay": 1e-3, "learning_rate": 0.01},
    },
    "single precision of mup": {
        "network": {"activation": "relu", "parameterization": "mup"},
        "training": {"dtype": "float32"},
    },
    "biases that do not decay": {"network": {"bias": True}, "training": {"decay_biases": False}},
    "layers of their own": {"training": {"layers": {"1": {"learning_rate": 0.5, "weight_decay": 0.1}}}},
    "weights that are kept": {"measure": {"weights": [0, 10]}},
    "measured every so often": {"measure": {"every": 7}},
    "batches": {"training": {"optimizer": "sgd", "batch_size": 5}},
}


@pytest.mark.parametrize("name", BASES)
def test_every_free_setting_is_free_in_every_kind_of_trial(name: str) -> None:
    """One setting at a time: a value that decided about something beside itself would show in some other point."""
    base = BASES[name]
    if base.get("training", {}).get("optimizer") == "sgd":
        base = {**base, "training": {**base["training"], "batch_size": 5}}
    for path in sorted(FREE):
        assert_same({"trial": base, "axes": {path: FREE_VALUES[path]}})
        assert_same({"trial": base, "axes": {path: FREE_VALUES[path][::-1]}})


def test_every_free_setting_is_tried_here() -> None:
    assert FREE_VALUES.keys() == FREE


def test_stack_keys_of_uploaded_data_leave_out_the_seed_alone() -> None:
    uploaded = {"kind": "uploaded", "dataset_id": "a", "test_fraction": 0.2}
    grid = {"trial": {"data": uploaded}, "axes": {"data.seed": [1, 2]}}
    one, other = expand(grid, datasets={"a": {"x": (10, 3), "y": (10, 2)}}).points
    assert one.stack_key == other.stack_key and one.digest != other.digest
    other_rows = {**grid, "trial": {"data": {**uploaded, "test_fraction": 0.3}}}
    assert expand(other_rows, datasets={"a": {"x": (10, 3), "y": (10, 2)}}).points[0].stack_key != one.stack_key
