"""Derivatives for what maps of a graph give, by compiled code: those of the tensor library."""

from typing import Any

import pytest
import torch
from compilers import needs_compiler

from nfa_kernels.graphs.graph import Graph, Input, graph
from nfa_kernels.graphs.named import network_graph
from nfa_kernels.native import taps
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.programs.graph_program import GraphProgram

pytestmark = needs_compiler
IMAGES, TOKENS = Input((2, 7, 6)), Input((5, 4))


def _named(data: Input, kind: str, **network: Any) -> Graph:
    return network_graph({"kind": kind, **network}, data, 3)


GRAPHS = {
    "residual": _named(Input((5,)), "resmlp", depth=4, width=9, norm="layer", activation="relu", bias=True),
    "convolutions": _named(IMAGES, "convnet", depth=4, channels=5, kernel=3, activation="relu"),
    "strides": _named(IMAGES, "convnet", depth=3, channels=4, kernel=3, stride=2, activation="tanh", bias=True),
    "transformer": _named(TOKENS, "transformer", depth=2, width=8, heads=2, activation="gelu", norm="rms"),
    "of numbers": _named(Input((17,), 7), "transformer", depth=1, width=8, activation="silu", norm="layer"),
    "maxima": graph(
        [{"conv": {"channels": 6, "kernel": 3}}, {"pool": {"kind": "max", "size": 2}}, "flatten", {"linear": {}}],
        *(IMAGES, 3),
    ),
    "causal": graph(
        [{"attention": {"causal": True, "bias": True}}, {"readout": {"kind": "flatten"}}, {"linear": {}}], TOKENS, 3
    ),
}


def _stack(of: Graph, samples: int, dtype: torch.dtype) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    drawn, size, words = torch.Generator().manual_seed(1), (2, samples, *of.input.shape), of.input.vocabulary
    x = torch.randint(words, size, generator=drawn) if words else torch.randn(size, generator=drawn)
    each = [GraphProgram(of).initial("he", seed) for seed in (0, 1)]
    return tuple(torch.stack(arrays).to(dtype) for arrays in zip(*each, strict=True)), x.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("parameterization", ["standard", "mup"])
@pytest.mark.parametrize("name", GRAPHS)
def test_factors_of_every_layer_are_those_of_the_tensor_library(name, parameterization, dtype, tolerance, monkeypatch):
    of, program = GRAPHS[name], GraphProgram(GRAPHS[name], parameterization)
    params, x = _stack(of, 11, dtype)
    numbers = [one.number for one in of.measured]
    for layers in (numbers, numbers[:1], numbers[-1:]):
        for block in (1 << 22, 600):
            monkeypatch.setenv(SWITCH, "1")
            assert taps.taps_of(of, 0.5, layers, params) is not None
            ours = program.tapped(params, x, layers, block)
            monkeypatch.setenv(SWITCH, "0")
            theirs = program.tapped(params, x, layers, block)
            torch.testing.assert_close(ours.outputs, theirs.outputs, rtol=tolerance, atol=tolerance)
            assert ours.factors.keys() == theirs.factors.keys() == {*layers}
            for layer, known in theirs.factors.items():
                found, wanted = (one.mT.double() @ one.double() for one in (ours.factors[layer], known))
                assert (found - wanted).abs().max() <= tolerance * wanted.abs().max(), layer


def test_a_network_has_the_same_bits_alone_and_beside_one_without_finite_numbers(monkeypatch):
    monkeypatch.setenv(SWITCH, "1")
    for of in GRAPHS.values():
        program, (params, x) = GraphProgram(of), _stack(of, 11, torch.float64)
        layers = [one.number for one in of.measured]
        params[0][0] = torch.inf
        together = program.tapped(params, x, layers)
        alone = program.tapped(tuple(one[1:] for one in params), x[1:], layers)
        assert torch.equal(together.outputs[1:], alone.outputs) and alone.outputs.isfinite().all()
        for layer in layers:
            assert torch.equal(together.factors[layer][1:], alone.factors[layer]), layer
