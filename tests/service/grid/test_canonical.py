"""Canonical form and fingerprint: typed, complete, without what is not read."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfa_kernels import names
from service.grid.canonical import canonical, compact, fingerprint, fingerprinter, settings_digest, unread
from service.grid.trial_settings import TrialSettings

BLOCKS = st.fixed_dictionaries(
    {},
    optional={
        "data": st.fixed_dictionaries(
            {},
            optional={
                "kind": st.sampled_from(["linear_teacher", "digits", "iris", "modular_addition", "conv_teacher"]),
                "noise": st.sampled_from([0, 0.0, -0.0, 1]),
                "seed": st.none() | st.integers(0, 5),
                "layout": st.sampled_from(names.LAYOUTS),
                "encoding": st.sampled_from(names.ENCODINGS),
                "test_fraction": st.sampled_from([None, 0.25]),
            },
        ),
        "network": st.fixed_dictionaries(
            {"depth": st.integers(1, 4), "width": st.integers(1, 5)},
            optional={
                "activation": st.sampled_from(names.ACTIVATIONS),
                "slope": st.sampled_from([0.1, 0.2]),
                "bias": st.booleans(),
            },
        ),
        "init": st.fixed_dictionaries(
            {"scheme": st.sampled_from([scheme for scheme in names.INITIALISATIONS if scheme != "given"])},
            optional={"first": st.sampled_from([1, 2.0]), "scale": st.sampled_from([1, 0.5])},
        ),
        "training": st.fixed_dictionaries(
            {"optimizer": st.sampled_from([n for n, o in names.OPTIMIZERS.items() if o.minibatches != "required"])},
            optional={
                "beta1": st.sampled_from([0.5, 0.9]),
                "momentum": st.sampled_from([0, 0.9]),
                "schedule": st.sampled_from(names.SCHEDULES),
                "steps": st.sampled_from([10, 10.0]),
                "device": st.sampled_from(["cpu", "gpu"]),
                "weight_decay": st.sampled_from([0, 0.1]),
                "decay_biases": st.booleans(),
                "layers": st.sampled_from([{}, {"1": {}}, {"1": {"learning_rate": 0.02, "weight_decay": 0}}]),
                "loss": st.sampled_from(["half", "huber", "cross_entropy"]),
                "huber_delta": st.sampled_from([1, 2.0]),
                "label_smoothing": st.sampled_from([0, 0.1]),
            },
        ),
        "measure": st.fixed_dictionaries(
            {},
            optional={"layers": st.sampled_from(["first", "all", [1]]), "metrics": st.sampled_from(["all", "default"])},
        ),
    },
)


def form(block: dict[str, Any]) -> dict[str, Any]:
    return canonical(TrialSettings.model_validate(block))


@given(BLOCKS)
@settings(max_examples=200, deadline=None)
def test_canonical_form_is_canonical(block: dict[str, Any]) -> None:
    once = form(block)
    assert form(once) == once
    assert settings_digest(form(json.loads(json.dumps(once)))) == settings_digest(once)


@given(BLOCKS)
@settings(max_examples=100, deadline=None)
def test_fields_that_are_not_read_do_not_enter(block: dict[str, Any]) -> None:
    valid = TrialSettings.model_validate(block)
    stripped = {
        name: {
            key: value
            for key, value in part.items()
            if key not in unread(getattr(valid, name), canonical(valid)[name], part)
        }
        for name, part in block.items()
    }
    assert form(stripped) == canonical(valid)


@given(BLOCKS, st.lists(st.integers(0, 2**63 - 1), max_size=3))
@settings(max_examples=50, deadline=None)
def test_fingerprints_of_many_seeds_are_the_fingerprints_of_each(block: dict[str, Any], seeds: list[int]) -> None:
    of_text, text = fingerprinter(), compact(form(block))
    assert [of_text(text, seed) for seed in seeds] == [fingerprint(form(block), seed) for seed in seeds]


RELU = {"activation": "relu"}
DIGITS = {"kind": "digits"}
SINGLE = {"network": RELU, "training": {"dtype": "float32"}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"training": {"optimizer": "gd", "learning_rate": 0.02, "steps": 6000}}),
        ({"training": {"weight_decay": 0}}, {"training": {"weight_decay": 0.0}}),
        ({"data": {"noise": -0.0}}, {"data": {"noise": 0}}),
        ({"training": {"steps": 6e3}}, {"training": {"steps": 6000}}),
        ({"network": {"width": 16}}, {"network": {"width": [16, 16]}}),
        ({"network": {"depth": 1, "width": 5, "activation": "relu"}}, {"network": {"depth": 1}}),
        ({"network": {"slope": 0.3}}, {}),
        ({"init": {"first": 2}}, {}),
        ({"training": {"beta1": 0.5, "momentum": 0.1, "horizon": 3}}, {}),
        ({"training": {"device": "gpu"}}, {}),
        ({"training": {"optimizer": "adam", "beta2": 0.999}}, {"training": {"optimizer": "adam"}}),
        ({"training": {"schedule_steps": 5}}, {}),
        ({"training": {"schedule": "step", "schedule_steps": 2000}}, {"training": {"schedule": "step"}}),
        ({"training": {"huber_delta": 5, "label_smoothing": 0.5}}, {}),
        ({"training": {"loss": "huber"}}, {"training": {"loss": "huber", "huber_delta": 1, "label_smoothing": 0.1}}),
        (
            {"data": DIGITS, "training": {"loss": "cross_entropy"}},
            {"data": DIGITS, "training": {"loss": "cross_entropy", "label_smoothing": 0}},
        ),
        ({"measure": {"layers": [1]}}, {"measure": {"layers": "first"}}),
        ({"measure": {"layers": [3, 1, 2, 1]}}, {"measure": {"layers": "all"}}),
        ({"measure": {"metrics": list(names.DEFAULT_METRICS)}}, {}),
        ({"measure": {"metrics": ["alignment@0.7"]}}, {"measure": {"metrics": [], "exponents": [0.7]}}),
        ({"measure": {"points": 60, "spacing": "log"}}, {}),
        ({"measure": {"every": 5, "spacing": "linear"}}, {"measure": {"every": 5}}),
        ({"measure": {"weights": [5, 3, 5]}}, {"measure": {"weights": [3, 5]}}),
        # products of matrices have no passes over samples, and float64 weights are measured in float64
        ({"training": {"dtype": "float32"}, "measure": {"dtype": "float32"}}, {"training": {"dtype": "float32"}}),
        ({"network": RELU, "measure": {"dtype": "float32"}}, {"network": RELU}),
        (SINGLE | {"measure": {"dtype": "float64"}}, SINGLE),
    ],
)
def test_two_ways_to_write_one_trial_agree(one: dict, other: dict) -> None:
    assert form(one) == form(other)
    assert settings_digest(form(one)) == settings_digest(form(other))


@pytest.mark.parametrize(
    "block",
    [
        {"data": {"seed": 0}},
        {"data": {"noise": 0.2}},
        {"network": {"depth": 4}},
        {"network": {"activation": "relu"}},
        {"init": {"scale": 2}},
        {"training": {"learning_rate": 0.03}},
        {"training": {"schedule": "cosine"}},
        {"training": {"dtype": "float32"}},
        {"training": {"stop": {"loss_below": 1e-3}}},
        {"training": {"loss": "huber"}},
        {"measure": {"points": 61}},
        {"measure": {"exponents": [0.7]}},
        {"measure": {"weights": [0]}},
    ],
)
def test_what_is_read_changes_the_fingerprint(block: dict) -> None:
    assert settings_digest(form(block)) != settings_digest(form({}))


def test_what_is_measured_in_float32_is_another_trial() -> None:
    assert form(SINGLE)["measure"]["dtype"] == "float64"
    assert settings_digest(form(SINGLE | {"measure": {"dtype": "float32"}})) != settings_digest(form(SINGLE))


PINNED = "fbcc4eb1da69d52b09a4486f3ea93fc2541bdad7e81d8df5b84ae8026577423e"


def test_the_default_trial_keeps_its_fingerprint() -> None:
    """Changing it orphans every stored result: raise NUMERICAL_VERSION or the defaults only on purpose."""
    assert fingerprint(form({"measure": {"metrics": ["alignment"]}}), 0) == PINNED


def test_metrics_that_came_later_change_no_fingerprint_of_a_grid_that_names_none() -> None:
    network = "train_loss test_loss relative_loss gradient_norm weight_norm imbalance imbalance_relative accuracy modes"
    layer = "alignment alignment_half alignment_one residual scale best_exponent best_exponent_kind best_alignment"
    assert (*network.split(), *layer.split(), "null_floor", "agop_rank") == names.DEFAULT_METRICS
