"""What a list of layers means: shapes, parameters, measured layers, and what is refused with which words."""

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfa_kernels import names
from nfa_kernels.graphs.errors import GraphError
from nfa_kernels.graphs.graph import Graph, Input, graph
from nfa_kernels.graphs.layers import KINDS
from nfa_kernels.graphs.limits import MAX_LAYERS, MAX_LEVELS
from nfa_kernels.graphs.named import NAMED, layers_of

VECTOR, IMAGE, TOKENS, NUMBERS = Input((5,)), Input((1, 8, 8)), Input((4, 6)), Input((4,), 9)
EXAMPLE: list[Any] = [
    {"conv": {"channels": 8, "kernel": 3, "name": "c1"}},
    "relu",
    {"residual": [{"norm": "layer"}, {"conv": {"channels": 8, "kernel": 1, "name": "a", "bias": True}}]},
    {"pool": {"kind": "max", "size": 3}},
    "flatten",
    {"linear": {"name": "head"}},
]


def _nested(levels: int) -> list[Any]:
    layers: list[Any] = [{"linear": 5}]
    for _ in range(levels - 1):
        layers = [{"residual": layers}]
    return [*layers, {"linear": {}}]


def test_shapes_parameters_and_measured_layers_follow_from_the_layers_and_the_data():
    found = graph(EXAMPLE, IMAGE, 10)
    assert [node.outputs for node in found.nodes] == [(8, 8, 8), (8, 8, 8), (8, 8, 8), (8, 2, 2), (32,), (10,)]
    assert [(one.name, one.shape, one.role, one.fan_in, one.fan_out) for one in found.parameters] == [
        ("c1.weight", (8, 1, 3, 3), "weight", 9, 72),
        ("norm1.weight", (8,), "gain", 1, 8),
        ("norm1.bias", (8,), "bias", 1, 8),
        ("a.weight", (8, 8, 1, 1), "weight", 8, 8),
        ("a.bias", (8,), "bias", 8, 8),
        ("head.weight", (10, 32), "weight", 32, 10),
    ]
    assert [one.matrix for one in found.parameters] == [(8, 9), (8, 1), (8, 1), (8, 8), (8, 1), (10, 32)]
    assert [(one.number, one.name, one.outputs, one.inputs, one.positions, one.above) for one in found.measured] == [
        (1, "c1", 8, 9, 64, 3),
        (2, "a", 8, 8, 64, 2),
        (3, "head", 10, 32, 1, 1),
    ]
    assert not any(one.has_residual or one.next for one in found.measured)


@pytest.mark.parametrize(
    ("data", "layers", "shapes"),
    [
        (IMAGE, [{"conv": {"channels": 2, "kernel": 4, "stride": 2}}, {"pool": "global"}], [(2, 4, 4), (2,)]),
        (
            IMAGE,
            [{"conv": {"channels": 2, "kernel": 3, "padding": "valid", "stride": 2}}, "flatten"],
            [(2, 3, 3), (18,)],
        ),
        (IMAGE, [{"pool": {"size": 3}}, {"pool": "max"}], [(1, 2, 2), (1,)]),
        (TOKENS, [{"linear": 3}, {"readout": "flatten"}], [(4, 3), (12,)]),
        (NUMBERS, [{"embedding": 6}, {"attention": 2}, {"readout": "last"}], [(4, 6), (4, 6), (6,)]),
    ],
)
def test_every_layer_gives_the_shape_that_its_settings_say(data, layers, shapes):
    found = graph([*layers, {"linear": {}}], data, 3)
    assert [node.outputs for node in found.nodes] == [*shapes, (3,)]


def test_the_longest_way_to_the_output_counts_attention_twice_and_skips_not_at_all():
    attention = {"residual": [{"attention": {"heads": 2, "name": "look"}}]}
    found = graph([{"linear": 6}, attention, {"readout": "mean"}, {"linear": {}}], TOKENS, 3)
    assert {one.name: one.above for one in found.measured} == {
        "linear1": 4,
        "look.query": 3,
        "look.key": 3,
        "look.value": 3,
        "look.output": 2,
        "linear2": 1,
    }
    assert [one.positions for one in found.measured] == [4, 4, 4, 4, 4, 1]


def test_theorems_cover_chains_of_maps_and_activations_alone():
    chain = graph(["flatten", {"linear": 7}, "relu", {"linear": {}}], TOKENS, 3)
    assert chain.has_imbalance and all(one.has_residual for one in chain.measured)
    assert [one.next for one in chain.measured] == [2, None]
    for between in ({"norm": "rms"}, {"residual": ["tanh"]}):
        bent = graph([{"linear": 7}, between, {"linear": {}}], VECTOR, 3)
        assert not bent.has_imbalance and not any(one.has_residual or one.next for one in bent.measured)
    tokens = graph([{"linear": 7}, "relu", {"linear": 7}, {"readout": "mean"}, {"linear": {}}], TOKENS, 3)
    assert [one.next for one in tokens.measured] == [2, None, None]
    assert not tokens.has_imbalance and not any(one.has_residual for one in tokens.measured)


@pytest.mark.parametrize(
    ("data", "layers", "told"),
    [
        (VECTOR, [{"batchnorm": {}}], "layers[0]: batch normalisation lets samples interact"),
        (VECTOR, [{"norm": "batch"}], "layers[0]: batch normalisation lets samples interact"),
        (VECTOR, [{"norm": {"kind": "BatchNorm2d"}}], "layers[0]: batch normalisation lets samples interact"),
        (VECTOR, ["relu", {"dropout": 0.5}], "layers[1]: dropout makes outputs random"),
        (VECTOR, ["linear"], "layers[0]: received linear alone"),
        (VECTOR, ["convolution"], "layers[0]: received the kind 'convolution', allowed are linear, conv,"),
        (VECTOR, [3], "layers[0]: received 3, needed is a name such as relu"),
        (VECTOR, [{"linear": 3, "relu": None}], "layers[0]: received 2 kinds at once"),
        (VECTOR, [{}], "layers[0]: received 0 kinds at once"),
        (VECTOR, [{3: 4}], "layers[0]: received the kind 3"),
        (VECTOR, [{"linear": 0}], "layers[0]: units is 0, allowed is a whole number 1.."),
        (VECTOR, [{"linear": True}], "layers[0]: units is True"),
        (VECTOR, [{"linear": 1 << 40}], "layers[0]: units is 1099511627776"),
        (VECTOR, [{"linear": 10**5000}], "layers[0]: units is a whole number of 16610 bits"),
        (VECTOR, [{"linear": [3]}], "layers[0]: received a list of 1, needed are settings by name"),
        (VECTOR, [{"linear": {"unit": 3}}], "layers[0]: received the setting 'unit', allowed are units, name, bias"),
        (VECTOR, [{"linear": {}}, "relu"], "layers[0]: units is missing; only the last layer"),
        (VECTOR, [{"linear": {"units": 3, "bias": "yes"}}], "layers[0]: bias is 'yes', allowed are true and false"),
        (VECTOR, [{"linear": {"units": 3, "name": "a.b"}}], "layers[0]: name is 'a.b', allowed is a letter"),
        (VECTOR, [{"leaky_relu": -1}], "layers[0]: slope is -1, allowed are finite numbers >= 0"),
        (VECTOR, [{"relu": {"slope": 1}}], "layers[0]: received the setting 'slope'"),
        (VECTOR, [{"linear": 4}], "layers[0]: gives shape (4,), the data have outputs of shape (3,)"),
        (VECTOR, ["relu"], "layers[0]: gives shape (5,), the data have outputs of shape (3,)"),
        (Input((3,)), ["relu"], "layers: received no linear map, convolution or attention"),
        (VECTOR, [], "layers: received an empty list, needed is a list of at least one layer"),
        (VECTOR, [{"residual": []}], "layers[0]: received a list of 0, needed is a list of at least one layer"),
        (VECTOR, [{"residual": {"linear": 5}}], "layers[0]: received a mapping of 1"),
        (
            VECTOR,
            [{"residual": [{"linear": 4}]}, {"linear": {}}],
            "layers[0]: the layers inside give shape (4,), added to shape (5,) that enters them; they must be equal: "
            "change the size of layers[0].residual[0]",
        ),
        (VECTOR, [{"residual": [{"linear": {}}]}], "layers[0].residual[0]: units is missing"),
        (VECTOR, [{"conv": {"channels": 3, "kernel": 3}}], "layers[0]: a convolution receives shape (5,), needed is"),
        (
            IMAGE,
            [{"conv": {"channels": 3, "kernel": 9}}],
            "layers[0]: a kernel (9, 9) receives shape (1, 8, 8), needed is an image of at least (9, 9); make",
        ),
        (IMAGE, [{"conv": {"channels": 3}}], "layers[0]: kernel is missing, needed is a whole number"),
        (
            IMAGE,
            [{"conv": {"channels": 3, "kernel": 3, "padding": "full"}}],
            "layers[0]: padding is 'full', allowed is",
        ),
        (IMAGE, [{"linear": 3}], "layers[0]: a linear map receives shape (1, 8, 8), needed is a vector (d,) or tokens"),
        (IMAGE, [{"pool": {"size": 9}}], "layers[0]: a pool of size 9 receives shape (1, 8, 8)"),
        (IMAGE, [{"readout": "mean"}], "layers[0]: a readout receives shape (1, 8, 8), needed is tokens (t, d); of an"),
        (TOKENS, [{"pool": "max"}], "layers[0]: a pool receives shape (4, 6), needed is an image (c, h, w); of tokens"),
        (TOKENS, [{"attention": 4}], "layers[0]: 4 heads do not divide the width 6 of shape (4, 6)"),
        (TOKENS, [{"norm": {"kind": "group", "groups": 4}}], "layers[0]: 4 groups do not divide the 6 features"),
        (TOKENS, [{"norm": {"kind": "layer", "groups": 2}}], "layers[0]: groups is read by {kind: group} alone"),
        (TOKENS, [{"embedding": 4}], "layers[0]: an embedding receives shape (4, 6), needed is numbers of tokens (t,)"),
        (NUMBERS, [{"linear": {}}], "layers[0]: a linear map receives shape (4,), needed is a vector (d,) or tokens"),
        (NUMBERS, [{"norm": "rms"}], "layers[0]: a normalisation receives numbers of tokens (4,); put {embedding: 32}"),
        (NUMBERS, ["tanh", {"embedding": 4}], "layers[0]: tanh receives numbers of tokens (4,); put {embedding: 32}"),
        (Input((2, 2), 5), [{"linear": {}}], "data: received samples of shape (2, 2), 5 numbers of tokens"),
    ],
)
def test_what_is_no_network_is_refused_with_the_layer_both_shapes_and_the_next_step(data, layers, told):
    with pytest.raises(GraphError) as refused:
        graph(layers, data, 3)
    assert str(refused.value).startswith(told)


def test_a_name_is_one_layers_alone_also_inside_of_a_residual_connection():
    layers = [{"linear": {"units": 5, "name": "a"}}, {"residual": [{"linear": {"units": 5, "name": "a"}}]}]
    with pytest.raises(GraphError, match=r"layers\[1\]\.residual\[0\]: the name a is that of layers\[0\] already"):
        graph([*layers, {"linear": {}}], VECTOR, 3)
    with pytest.raises(GraphError, match=r"layers\[1\]: the name linear2 is that of layers\[0\] already"):
        graph([{"linear": {"units": 5, "name": "linear2"}}, {"linear": {}}], VECTOR, 3)


@pytest.mark.parametrize(
    "layers", [[{"linear": 5}] * 10_000, _nested(100), _nested(100_000)], ids=["long", "deep", "deepest"]
)
def test_graphs_beyond_the_limits_are_refused_in_milliseconds(layers):
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        with pytest.raises(GraphError, match="allowed are at most"):
            graph(layers, VECTOR, 3)
        seconds.append(time.perf_counter() - began)
    # by the quickest: the processor may be somebody else's for a moment
    assert min(seconds) < 0.05
    while len(layers) == 2 and isinstance(layers[0].get("residual"), list):
        # taken apart from outside: one list inside of another 100,000 times is freed by recursion otherwise
        layers[:] = [*layers[0].pop("residual"), layers[1]]


def test_graphs_at_the_limits_are_read():
    assert len(graph([{"linear": 5}] * (MAX_LAYERS - 1) + [{"linear": {}}], VECTOR, 3).measured) == MAX_LAYERS
    assert graph(_nested(MAX_LEVELS), VECTOR, 3).measured[0].above == 2
    with pytest.raises(GraphError):
        graph(_nested(MAX_LEVELS + 1), VECTOR, 3)


_BLOCK: list[Any] = [{"norm": "layer"}, "gelu", {"linear": 6}]
_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from((*KINDS, *names.ACTIVATIONS, "global")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from((*KINDS, "relu", "units", "kernel", "channels", "size", "name")), inner, max_size=2
        )
    ),
    max_leaves=12,
)


@given(st.lists(_JUNK, max_size=4), st.sampled_from((VECTOR, IMAGE, TOKENS, NUMBERS)))
@settings(max_examples=150, deadline=None)
def test_whatever_is_written_as_layers_is_a_graph_or_a_graph_error(layers, data):
    try:
        assert isinstance(graph(layers, data, 3), Graph)
    except GraphError as refused:
        assert str(refused).startswith(("layers", "data"))


@pytest.mark.parametrize(
    ("kind", "of", "data", "layers"),
    [
        ("resmlp", {"depth": 1}, VECTOR, [{"linear": {}}]),
        (
            "resmlp",
            {"depth": 3, "width": 6, "activation": "gelu", "norm": "layer"},
            VECTOR,
            [{"linear": 6}, {"residual": _BLOCK}, {"norm": "layer"}, "gelu", {"linear": {}}],
        ),
        (
            "resmlp",
            {"depth": 3, "width": 6, "activation": "relu", "skip": False},
            IMAGE,
            ["flatten", {"linear": 6}, "relu", {"linear": 6}, "relu", {"linear": {}}],
        ),
        (
            "convnet",
            {"depth": 3, "channels": 4, "kernel": 3, "activation": "relu", "pool": "max", "norm": "rms"},
            IMAGE,
            [{"conv": {"channels": 4, "kernel": 3}}, {"norm": "rms"}, "relu"] * 2 + [{"pool": "max"}, {"linear": {}}],
        ),
        (
            "transformer",
            {"depth": 1, "width": 4, "heads": 2, "mlp_width": 8, "norm": "rms", "causal": True, "readout": "last"},
            NUMBERS,
            [
                {"embedding": 4},
                {"positions": "learned"},
                {"residual": [{"norm": "rms"}, {"attention": {"heads": 2, "causal": True}}]},
                {"residual": [{"norm": "rms"}, {"linear": 8}, "gelu", {"linear": 4}]},
                {"norm": "rms"},
                {"readout": "last"},
                {"linear": {}},
            ],
        ),
    ],
)
def test_a_named_kind_is_the_graph_that_it_stands_for(kind, of, data, layers):
    assert graph(layers_of(kind, of, data), data, 3) == graph(layers, data, 3)


@pytest.mark.parametrize("kind", NAMED)
def test_a_named_kind_refuses_what_it_does_not_read_and_needs_its_depth(kind):
    data = {"transformer": Input((5, 3))}.get(kind, VECTOR)
    with pytest.raises(GraphError, match="network: received the setting 'layers'"):
        layers_of(kind, {"depth": 2, "layers": []}, data)
    with pytest.raises(GraphError, match=r"network: (depth|width) is missing"):
        layers_of(kind, {}, data)
    with pytest.raises(GraphError, match="kind is 'vit', allowed is one of resmlp, convnet, transformer"):
        layers_of("vit", {}, data)
    with pytest.raises(GraphError, match=r"network: depth is 1000000, allowed is a whole number 1\.\.200"):
        layers_of(kind, {"depth": 10**6} | ({} if kind == "convnet" else {"width": 2}), data)


def test_graphs_are_read_without_torch():
    code = "import sys, nfa_kernels.graphs.named, nfa_kernels.graphs.graph; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
