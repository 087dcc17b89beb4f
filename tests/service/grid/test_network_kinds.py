"""A network of any kind in a grid: what is read, what it stands for, and what is refused, by the layer's name."""

import re
from typing import Any

import pytest

from service.errors import InvalidGrid
from service.grid import cost
from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.grid.reading import LAYERS as NAMES
from service.grid.reading import setting
from service.grid.shown_networks import shown_networks

DIGITS = {"kind": "digits", "layout": "image", "samples": 50}
TOKENS = {"kind": "modular_addition", "encoding": "tokens", "modulus": 7}
BLOCK = [{"norm": "layer"}, {"linear": {"units": 8, "name": "inner"}}, "gelu"]
LAYERS = [{"linear": {"units": 8, "name": "a"}}, "relu", {"residual": BLOCK}, {"linear": {"name": "head"}}]


def _points(network: dict[str, Any], data: dict[str, Any] | None = None, **trial: Any) -> Any:
    document = {"trial": {"network": network, "data": data or {}, **trial}}
    return expand(document).points


def _refused(network: Any, data: dict[str, Any] | None = None, limits: Limits | None = None, **trial: Any) -> Any:
    document = {"trial": {"network": network, "data": data or {}, **trial}}
    with pytest.raises(InvalidGrid) as caught:
        expand(document, limits or Limits())
    return caught.value.errors


def test_a_network_without_a_kind_is_the_fully_connected_one_and_has_the_same_digest():
    (plain,), (named,) = _points({"depth": 2}), _points({"kind": "mlp", "depth": 2})
    assert plain.digest == named.digest and "kind" not in named.settings["network"] and named.layers == ()


@pytest.mark.parametrize(
    ("network", "data", "layers"),
    [
        ({"kind": "resmlp", "width": 8}, {}, ("linear1", "linear2", "linear3")),
        ({"kind": "convnet", "depth": 2}, DIGITS, ("conv1", "linear1")),
        (
            {"kind": "transformer", "depth": 1, "heads": 2},
            TOKENS,
            (*(f"attention1.{part}" for part in ("query", "key", "value", "output")), "linear1", "linear2", "linear3"),
        ),
        ({"kind": "graph", "layers": LAYERS}, {}, ("a", "inner", "head")),
    ],
)
def test_every_kind_has_layers_by_number_and_name(network: Any, data: Any, layers: tuple[str, ...]):
    (by_all,) = _points(network, data, measure={"layers": "all"})
    (by_name,) = _points(network, data, measure={"layers": list(reversed(layers))})
    assert by_all.layers == layers and by_all.settings["measure"]["layers"] == [*range(1, len(layers) + 1)]
    assert by_name.digest == by_all.digest
    assert cost.lane_bytes(by_all.settings, by_all.shape) > 0 < cost.stack_seconds(by_all.settings, by_all.shape, 4)


def test_a_named_kind_is_the_graph_that_the_preview_shows():
    (point,) = _points({"kind": "transformer", "depth": 1, "heads": 2}, TOKENS)
    (shown,) = shown_networks([(point.settings["network"], point.shape)])
    (again,) = _points({"kind": "graph", "layers": shown.layers}, TOKENS)
    assert again.layers == point.layers and [one.name for one in shown.measured] == list(point.layers)
    (same,) = shown_networks([(again.settings["network"], again.shape)])
    assert (same.measured, same.parameters) == (shown.measured, shown.parameters)


def test_a_transformer_that_is_not_told_has_gelu_and_layer_normalisation():
    (silent,) = _points({"kind": "transformer", "depth": 1}, TOKENS)
    (told,) = _points(
        {"kind": "transformer", "depth": 1, "activation": "gelu", "norm": "layer", "mlp_width": 64}, TOKENS
    )
    (other,) = _points({"kind": "transformer", "depth": 1, "activation": "relu", "norm": "none"}, TOKENS)
    assert silent.digest == told.digest
    assert [other.settings["network"][name] for name in ("activation", "norm")] == ["relu", "none"]


def test_layers_own_numbers_are_the_same_trial_by_number_and_by_name():
    own = {"weight_decay": 0.5}
    found = [
        _points({"kind": "graph", "layers": LAYERS}, training={"layers": {key: own}})[0].digest for key in ("1", "a")
    ]
    assert found[0] == found[1]
    (norm,) = _points({"kind": "graph", "layers": LAYERS}, training={"layers": {"norm1": own}})
    assert norm.settings["training"]["layers"] == {"norm1": own}


def test_a_map_of_an_attention_reads_what_the_whole_of_it_has():
    layers = {"attention1": {"learning_rate": 0.5}, "2": {"learning_rate": 0.25}}
    (point,) = _points({"kind": "transformer", "depth": 1}, TOKENS, training={"layers": layers, "learning_rate": 0.1})
    settings = {**point.settings, NAMES: point.layers}
    paths = [f"training.layers.{layer}.learning_rate" for layer in ("1", "2", "attention1", "5", "linear1", "8")]
    assert [setting(settings, path) for path in paths] == [0.5, 0.25, 0.5, 0.1, 0.1, None]


@pytest.mark.parametrize(
    ("network", "data", "trial", "path", "told"),
    [
        (
            {"channels": 4},
            {},
            {},
            "trial.network.channels",
            "mlp does not read channels, .* of convnet",
        ),
        ({"kind": "resmlp", "heads": 2}, {}, {}, "trial.network.heads", "setting of transformer"),
        ({"kind": "convnet"}, {}, {}, "trial.network.kind", r"layers\[0\]: a convolution receives shape \(10,\)"),
        (
            {"kind": "convnet", "kernel": 9},
            DIGITS,
            {},
            "trial.network.kind",
            r"\(9, 9\) receives shape \(1, 8, 8\)",
        ),
        ({"kind": "transformer", "heads": 3}, TOKENS, {}, "trial.network.kind", "3 heads do not divide the width 16"),
        ({"kind": "resmlp", "width": [4, 5]}, {}, {}, "trial.network.kind", "width is a list of 2"),
        ({"kind": "graph"}, {}, {}, "trial.network", "kind graph needs layers"),
        ({"kind": "graph", "layers": [{"batchnorm": {}}]}, {}, {}, "trial.network.layers[0]", "samples interact"),
        (
            {"kind": "graph", "layers": [{"residual": [{"linear": 3}]}, {"linear": {}}]},
            {},
            {},
            "trial.network.layers[0]",
            r"give shape \(3,\), added to shape \(10,\)",
        ),
        (
            {"kind": "graph", "layers": [{"linear": {"units": 3, "name": "a"}}, {"linear": {"name": "a"}}]},
            {},
            {},
            "trial.network.layers[1]",
            r"the name a is that of layers\[0\] already",
        ),
        ({"kind": "convent"}, {}, {}, "trial.network.kind", "did you mean convnet"),
        (
            {"kind": "resmlp"},
            {},
            {"init": {"scheme": "balanced"}},
            "trial.init.scheme",
            r"next that reads it, and layers\[1\] is a residual connection: take he,",
        ),
        (
            {"kind": "graph", "layers": LAYERS},
            {},
            {"measure": {"layers": ["a", "tail"]}},
            "trial.measure.layers",
            "layer tail does not exist: the network has layers 1 to 3, named a, inner, head",
        ),
        (
            {"kind": "graph", "layers": LAYERS},
            {},
            {"training": {"layers": {"b": {"weight_decay": 1.0}}}},
            "trial.training.layers.b.weight_decay",
            "layers 1 to 3 and a, inner, head, norm1",
        ),
        (
            {"kind": "graph", "layers": LAYERS},
            {},
            {"training": {"layers": {"1": {"weight_decay": 1.0}, "a": {"weight_decay": 2.0}}}},
            "trial.training.layers.a.weight_decay",
            "a is the layer 1, which has its own numbers already",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_its_layer(network: Any, data: Any, trial: Any, path: str, told: str):
    errors = _refused(network, data, **trial)
    assert errors[0]["path"] == path
    assert re.search(told, errors[0]["message"]), errors[0]["message"]


def test_a_network_over_the_limits_is_refused_with_both_numbers():
    (error, *_) = _refused({"kind": "convnet", "channels": 64}, DIGITS, Limits(parameters_per_network=1000))
    assert error["path"] == "trial.network.kind"
    largest = "36864 of them in conv2.weight (64, 64, 3, 3): take fewer channels"
    assert f"over the limit of 1000, {largest}" in error["message"]


def test_a_graph_over_the_limits_is_refused_at_its_largest_layer():
    layers = [{"residual": [{"linear": {"units": 90, "name": "up"}}, "relu", {"linear": 10}]}, {"linear": {}}]
    (error, *_) = _refused({"kind": "graph", "layers": layers}, {}, Limits(parameters_per_network=1000))
    assert error["path"] == "trial.network.layers[0].residual[0]"
    assert "900 of them in up.weight (90, 10): take fewer units" in error["message"]


@pytest.mark.parametrize("kind", ["many", "deep"])
def test_trees_of_layers_are_refused_before_anything_walks_down(kind: str, calls: Any):
    layers: list[Any] = ["relu"]
    for _ in range(100):
        layers = [{"residual": layers}]
    layers = ["relu"] * 10_000 if kind == "many" else layers
    assert calls(lambda: _refused({"kind": "graph", "layers": layers})) < 20_000
    (error, *_) = _refused({"kind": "graph", "layers": layers})
    assert "more than" in error["message"] and error["path"] == "trial.network.layers"


def test_given_weights_are_the_arrays_that_the_graph_names():
    shapes = {
        "a.weight": (8, 10),
        "norm1.weight": (8,),
        "norm1.bias": (8,),
        "inner.weight": (8, 8),
        "head.weight": (4, 8),
    }
    document = {
        "trial": {"network": {"kind": "graph", "layers": LAYERS}, "init": {"scheme": "given", "weights_id": "d1"}}
    }
    assert len(expand(document, datasets={"d1": shapes})) == 1
    with pytest.raises(InvalidGrid) as caught:
        expand(document, datasets={"d1": {**shapes, "w1": (8, 10), "head.weight": (3, 8)}})
    told = " ".join(one["message"] for one in caught.value.errors)
    assert (
        "head.weight has shape (3, 8), the network needs (4, 8)" in told and "w1, which this network does not" in told
    )
