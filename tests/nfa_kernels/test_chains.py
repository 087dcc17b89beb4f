"""Schemes that weigh neighbouring maps: where maps form a chain, conserved by gradient flow; elsewhere refused."""

from typing import Any

import pytest
import torch

from nfa_kernels.graphs.chains import chain_widths, columns_per_channel, scheme_refusal
from nfa_kernels.graphs.graph import Graph, Input, graph
from nfa_kernels.graphs.named import layers_of
from nfa_kernels.losses import loss_of
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.program import Params

IMAGES, TOKENS = Input((2, 6, 6)), Input((3,), 5)
CONV = {"conv": {"channels": 4, "kernel": 3}}


def _graph(layers: list[Any], of: Input = IMAGES) -> Graph:
    return graph(layers, of, 2)


def test_one_map_behind_the_other_is_a_chain_and_pixels_of_a_channel_are_its_columns():
    plain = _graph(layers_of("resmlp", {"depth": 3, "width": 5, "skip": False}, Input((7,))), Input((7,)))
    assert chain_widths(plain) == (7, 5, 5, 2) and columns_per_channel(plain) == (1, 1)
    pooled = _graph(layers_of("convnet", {"depth": 3, "channels": 4, "kernel": 3}, IMAGES))
    assert chain_widths(pooled) is None and columns_per_channel(pooled) == (9, 1)
    flat = _graph([CONV, "relu", {"pool": {"size": 2}}, "flatten", {"linear": {}}])
    assert chain_widths(flat) is None and columns_per_channel(flat) == (9,)
    pixels = _graph([CONV, {"conv": {"channels": 3, "kernel": 1}}, {"pool": "global"}, {"linear": {}}])
    assert chain_widths(pixels) is None and columns_per_channel(pixels) == (1, 1)
    rows = _graph([{"embedding": 4}, {"linear": 5}, {"readout": "flatten"}, {"linear": {}}], TOKENS)
    assert columns_per_channel(rows) is None


@pytest.mark.parametrize(
    ("scheme", "kind", "settings", "told"),
    [
        ("balanced", "resmlp", {"depth": 4}, "layers[1] is a residual connection: take he,"),
        ("neuron_balanced", "resmlp", {"depth": 4, "skip": False, "norm": "rms"}, "layers[1] is a normalisation"),
        ("balanced", "convnet", {"depth": 3}, "takes a patch, a pool, or several tokens .*given, layer_scales, neuron"),
        ("balanced", "transformer", {"depth": 1}, "layers[2] is a residual connection"),
        ("layer_scales", "convnet", {"depth": 1}, "needs a first and a last map"),
    ],
)
def test_where_no_theorem_speaks_a_scheme_is_refused_with_those_that_there_are(scheme, kind, settings, told):
    of = {"convnet": IMAGES, "transformer": TOKENS, "resmlp": Input((7,))}[kind]
    network = _graph(layers_of(kind, {"width": 4, **settings} if kind != "convnet" else settings, of), of)
    with pytest.raises(ValueError, match=told.replace("[", r"\[")):
        GraphProgram(network).initial(scheme, 0)
    assert scheme_refusal(network, "xavier") is None


def _imbalances(network: Graph, params: Params, other: Params) -> list[torch.Tensor]:
    """Products of what goes into every channel, minus those of what leaves it: of params with themselves, norms."""
    products = [(params[one.parameter] * other[one.parameter])[0] for one in network.measured]
    columns = columns_per_channel(network) or ()
    return [
        lower.sum(1) - upper.sum(0).reshape(-1, count).sum(1)
        for lower, upper, count in zip(products[:-1], products[1:], columns, strict=True)
    ]


@pytest.mark.parametrize("pool", ["average", "max"])
def test_channels_of_a_convolution_net_begin_balanced_and_gradients_do_not_change_that(pool):
    """d/dt (|into|^2 - |out of|^2) = -2 (<into, gradient> - <out of, gradient>) along gradient flow."""
    layers = [CONV, "relu", {"pool": {"kind": pool, "size": 2}}, CONV, {"leaky_relu": 0.2}, "flatten", {"linear": {}}]
    network = _graph(layers)
    program, generator = GraphProgram(network), torch.Generator().manual_seed(0)
    params = tuple(array[None] for array in program.initial("neuron_balanced", 1, 0.7))
    assert max(one.abs().max() for one in _imbalances(network, params, params)) < 1e-15
    x = torch.randn(1, 5, 2, 6, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(1, 5, 2, generator=generator, dtype=torch.float64)
    gradients = program.gradients(params, x, y, loss_of("half"))
    assert max(one.abs().max() for one in gradients) > 0.01
    assert max(one.abs().max() for one in _imbalances(network, params, gradients)) < 1e-14


def test_layer_scales_multiply_the_first_and_the_last_measured_map_of_any_kind():
    network = _graph(layers_of("transformer", {"depth": 1, "width": 4}, TOKENS), TOKENS)
    program = GraphProgram(network)
    plain, scaled = program.initial("xavier", 3), program.initial("layer_scales", 3, first=2.0, last=0.5)
    factors = {network.measured[0].parameter: 2.0, network.measured[-1].parameter: 0.5}
    for place, (one, other) in enumerate(zip(plain, scaled, strict=True)):
        torch.testing.assert_close(other, factors.get(place, 1.0) * one, rtol=1e-15, atol=0)
