"""Numbers of single layers in a grid: written, varied, refused, stacked, and read back."""

from typing import Any

import pytest

from nfa_kernels import names
from service.errors import InvalidFilter, InvalidGrid
from service.grid.canonical import canonical
from service.grid.expansion import Expansion, expand
from service.grid.reading import setting
from service.grid.trial_settings import TrialSettings
from service.questions import filters


def _form(**training: Any) -> dict[str, Any]:
    block = {"network": {"bias": True}, "training": training}
    return canonical(TrialSettings.model_validate(block))["training"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"layers": {}, "decay_biases": False}),
        ({}, {"layers": {"1": {}, "2": {"learning_rate": 0.02, "weight_decay": 0}}}),
        ({"layers": {"1": {"learning_rate": 1}}}, {"layers": {"1": {"learning_rate": 1.0, "weight_decay": 0.0}}}),
        ({"weight_decay": 0.1}, {"weight_decay": 0.1, "decay_biases": True}),
        ({"optimizer": "gradient_flow"}, {"optimizer": "gradient_flow", "layers": {"1": {"weight_decay": 0}}}),
    ],
)
def test_numbers_that_are_those_of_all_layers_are_left_out(one: dict, other: dict) -> None:
    assert _form(**one) == _form(**other)


def test_what_layers_have_of_their_own_is_kept_by_number() -> None:
    assert _form(layers={"2": {"weight_decay": 1}})["layers"] == {"2": {"weight_decay": 1.0}}
    assert _form(layers={"3": {"learning_rate": 0}})["layers"] == {"3": {"learning_rate": 0.0}}
    assert _form(layers={"2": {"weight_decay": 1}}, decay_biases=False)["decay_biases"] is False
    no_bias = canonical(TrialSettings.model_validate({"training": {"weight_decay": 1, "decay_biases": False}}))
    assert "decay_biases" not in no_bias["training"]


def _expand(trial: dict[str, Any] | None = None, **axes: Any) -> Expansion:
    named = {name.replace("__", "."): values for name, values in axes.items()}
    return expand({"trial": trial or {}, "axes": named})


def test_paths_into_layers_are_axes_that_share_a_stack() -> None:
    trial = {"training": {"weight_decay": 0.1}, "network": {"bias": True}}
    found = _expand(trial, training__layers__1__learning_rate=[0.01, 0.1], training__layers__2__weight_decay=[0, 0.3])
    assert len(found) == 4 and len({point.stack_key for point in found.points}) == 1
    assert dict(found.axes) == {
        "training.layers.1.learning_rate": [0.01, 0.1],
        "training.layers.2.weight_decay": [0, 0.3],
    }
    assert found.points[0].settings["training"]["layers"] == {"1": {"learning_rate": 0.01}, "2": {"weight_decay": 0.0}}
    assert found.ignored == ()


def test_a_mapping_of_layers_is_merged_over_the_trial_block() -> None:
    trial = {"training": {"layers": {"1": {"learning_rate": 0.5}, "2": {"learning_rate": 0.5}}}}
    found = _expand(trial, training__layers=[{"1": {"weight_decay": 0.2}}, {"2": {"learning_rate": 0.1}}])
    assert [point.settings["training"]["layers"] for point in found.points] == [
        {"1": {"learning_rate": 0.5, "weight_decay": 0.2}, "2": {"learning_rate": 0.5}},
        {"1": {"learning_rate": 0.5}, "2": {"learning_rate": 0.1}},
    ]
    whole = _expand(trial, training=[{"layers": {"2": {"learning_rate": 0.1}}}])
    assert whole.points[0].settings == found.points[1].settings


def test_networks_with_one_rate_for_all_parameters_have_stacks_of_their_own() -> None:
    found = _expand(None, training__layers__1__learning_rate=[0.02, 0.01, 0.03])
    keys = [point.stack_key for point in found.points]
    assert keys[0] != keys[1] == keys[2]
    trial = {"training": {"weight_decay": 0.1}, "network": {"bias": True}}
    decays = _expand(trial, training__decay_biases=[True, False])
    assert len({point.stack_key for point in decays.points}) == 2


def test_exclusions_match_numbers_of_layers() -> None:
    grid = {
        "axes": {"training.layers.1.learning_rate": [0.1, 0.2]},
        "exclude": [{"training.layers.1.learning_rate": 0.2}],
    }
    assert [point.axes for point in expand(grid).points] == [{"training.layers.1.learning_rate": 0.1}]


FLOW = {"optimizer": "gradient_flow"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"layers": {"4": {"weight_decay": 1}}}, "layers.4.weight_decay", "layer 4 does not exist: the network"),
    ({"layers": {"fc": {}}}, "layers.fc", "layer fc does not exist"),
    ({"layers": {"01": {"weight_decay": 1}}}, "layers.01", "named by its number from 1"),
    ({"layers": {"0": {"weight_decay": 1}}}, "layers.0", "named by its number from 1"),
    ({"layers": {"a.b": {}}}, "layers.a.b", "named by its number from 1"),
    ({"layers": {"1": {"rate": 1}}}, "layers.1.rate", "did you mean training.layers.1.learning_rate?"),
    ({"layers": {"1": {"weight_decay": -1}}}, "layers.1.weight_decay", "greater than or equal to 0"),
    ({"layers": {"1": {"learning_rate": "x"}}}, "layers.1.learning_rate", "valid number"),
    ({"layers": {"1": 5}}, "layers.1", "must be a mapping"),
    ({"layers": {"1": None}}, "layers.1", "must be a mapping"),
    ({"layers": [1]}, "layers", "must be a mapping"),
    ({"layers": {"1": {"learning_rate": 1}}, **FLOW}, "layers.1.learning_rate", "has no learning rate"),
    ({"decay_biases": "no"}, "decay_biases", "valid boolean"),
]  # fmt: skip


@pytest.mark.parametrize(("training", "path", "words"), WRONG, ids=[str(index) for index in range(len(WRONG))])
def test_wrong_layers_are_refused_by_name(training: dict, path: str, words: str) -> None:
    with pytest.raises(InvalidGrid) as caught:
        _expand({"training": training})
    assert caught.value.errors[0]["path"] == f"trial.training.{path}" and words in caught.value.errors[0]["message"]


@pytest.mark.parametrize(
    ("axes", "path", "words"),
    [
        ({"training.layers.0.learning_rate": [1]}, "training.layers.0.learning_rate", "unknown path"),
        ({"training.layers.1.rate": [1]}, "training.layers.1.rate", "unknown path"),
        ({"training.layers.1.learning_rate.x": [1]}, "training.layers.1.learning_rate.x", "unknown path"),
        ({"training.layers.9.learning_rate": [1]}, "training.layers.9.learning_rate[0]", "layer 9 does not exist"),
        ({"training.layers.1.learning_rate": [0.1, -1]}, "training.layers.1.learning_rate[1]", "greater than or equal"),
        ({"training.layers": [{"1": 5}]}, "training.layers[0].1", "must be a mapping"),
        ({"training.layers.1": [{"x": 5}]}, "training.layers.1[0].x", "unknown key"),
    ],
)
def test_wrong_paths_into_layers_are_refused_at_their_place(axes: dict, path: str, words: str) -> None:
    with pytest.raises(InvalidGrid) as caught:
        expand({"axes": axes})
    assert caught.value.errors[0]["path"] == f"axes.{path}" and words in caught.value.errors[0]["message"]


@pytest.mark.parametrize(("kind", "scheme"), [*(("mlp", one) for one in names.NOT_FOR_MUP), ("resmlp", "normal")])
def test_schemes_that_grow_with_the_width_are_refused_under_mup(kind: str, scheme: str) -> None:
    with pytest.raises(InvalidGrid, match=f"{scheme} grows with the width, which mup keeps of order one: he, lecun"):
        _expand({"network": {"kind": kind, "parameterization": "mup"}, "init": {"scheme": scheme}})


def test_what_canonical_form_leaves_out_is_read_as_it_is() -> None:
    trial = {
        "data": {"kind": "digits"},
        "network": {"bias": True},
        "training": {"weight_decay": 0.1, "layers": {"1": {"learning_rate": 0.5}}, "loss": "cross_entropy"},
    }
    document = canonical(TrialSettings.model_validate(trial))
    assert setting(document, "training.layers.1.learning_rate") == 0.5
    assert setting(document, "training.layers.2.learning_rate") == 0.02
    assert setting(document, "training.layers.1.weight_decay") == 0.1
    assert setting(document, "training.layers.4.weight_decay") is None
    assert setting(document, "training.decay_biases") is True and setting(document, "data.layout") == "flat"
    assert setting(document, "training.label_smoothing") == 0 and setting(document, "training.huber_delta") is None
    plain = canonical(TrialSettings())
    for path in ("training.decay_biases", "data.layout", "training.label_smoothing", "training.layers.x.weight_decay"):
        assert setting(plain, path) is None


def test_filters_and_claims_take_paths_into_layers() -> None:
    document = canonical(TrialSettings.model_validate({"training": {"layers": {"1": {"learning_rate": 0.5}}}}))
    for text, wanted in (
        ("training.layers.1.learning_rate > 0.1", True),
        ("training.layers.2.learning_rate > 0.1", False),
    ):
        assert filters.matches(filters.parse(text), lambda path: setting(document, path)) == wanted
    for text in ("training.layers.1 == 2", "training.layers == 1", "training.layers.1.rate == 2"):
        with pytest.raises(InvalidFilter, match="unknown path"):
            filters.parse(text)
