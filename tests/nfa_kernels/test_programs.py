"""Stacks of graphs against plain torch.nn modules, one network at a time, and against the MLP's own arithmetic."""

from typing import Any

import graph_reference
import pytest
import torch
from builders import data, stacked
from hypothesis import given, settings
from hypothesis import strategies as st

from nfa_kernels import agop, names
from nfa_kernels.graphs import cost
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.graphs.named import layers_of
from nfa_kernels.losses import loss_of
from nfa_kernels.networks import Architecture, forward, gradients_and_loss
from nfa_kernels.programs.graph_program import GraphProgram
from tests.nfa_kernels.drawn_graphs import networks

EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}
SMOOTH = [name for name in graph_reference.ACTIVATIONS if name not in ("relu", "leaky_relu")]
_DEEP_CONV = {"residual": [{"norm": "layer"}, {"conv": {"channels": 4, "kernel": 2}}, "silu"]}
EVERY_KIND: dict[str, tuple[Input, list[Any]]] = {
    "vectors": (
        Input((5,)),
        [
            {"linear": {"units": 6, "bias": True}},
            "gelu",
            {"residual": [{"norm": "rms"}, {"linear": 6}, "tanh"]},
            {"linear": {}},
        ],
    ),
    "images": (
        Input((2, 6, 5)),
        [
            {"conv": {"channels": 4, "kernel": 3, "bias": True}},
            {"norm": {"kind": "group", "groups": 2}},
            "relu",
            _DEEP_CONV,
            {"pool": {"kind": "max", "size": 2}},
            {"conv": {"channels": 3, "kernel": 2, "padding": "valid"}},
            {"pool": "global"},
            {"linear": {}},
        ],
    ),
    "tokens": (
        Input((4, 3)),
        [
            {"linear": 4},
            {"positions": "learned"},
            {"residual": [{"attention": {"heads": 2, "causal": True}}]},
            {"norm": "layer"},
            {"readout": "last"},
            {"linear": {}},
        ],
    ),
    "numbers": (
        Input((4,), 7),
        [
            {"embedding": 4},
            {"residual": [{"norm": "rms"}, {"attention": {"heads": 1, "bias": True}}]},
            {"readout": "mean"},
            {"linear": {}},
        ],
    ),
}


def _inputs(of: Input, lanes: int, samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if of.vocabulary:
        return torch.randint(of.vocabulary, (lanes, samples, *of.shape), generator=generator)
    return torch.randn(lanes, samples, *of.shape, generator=generator, dtype=torch.float64)


def _params(program: GraphProgram, lanes: int) -> tuple[torch.Tensor, ...]:
    """Initial parameters of several seeds, biases and gains moved off their constants."""
    generator = torch.Generator().manual_seed(5)
    parts = zip(*(program.initial("lecun", seed) for seed in range(lanes)), strict=True)
    stacks = (torch.stack(part) for part in parts)
    return tuple(part + 0.1 * torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in stacks)


@given(networks(SMOOTH), st.integers(1, 3), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_outputs_gradients_and_agops_equal_plain_modules_one_network_at_a_time(network, lanes, samples):
    of, layers = network
    program = GraphProgram(graph(layers, of, 2))
    x, params = _inputs(of, lanes, samples), _params(program, lanes)
    y = torch.ones(lanes, samples, 2, dtype=torch.float64)
    numbers = [one.number for one in program.measured]
    outputs, (gradients, loss) = program.forward(params, x), program.gradients_and_loss(params, x, y, loss_of("half"))
    tapped = program.tapped(params, x, numbers, block_elements=2000)
    torch.testing.assert_close(tapped.outputs, outputs, **EXACT)
    for lane in range(lanes):
        module = graph_reference.reference(layers, x[lane], 2, of.vocabulary)
        graph_reference.load(module, [part[lane] for part in params])
        wanted = module(x[lane])
        torch.testing.assert_close(outputs[lane], wanted.detach(), **EXACT)
        of_loss = (wanted - y[lane]).square().sum() / (2 * samples)
        torch.testing.assert_close(loss[lane], of_loss.detach(), **EXACT)
        back = torch.autograd.grad(of_loss, [*module.parameters()])
        for one, part, other in zip(program.parameters, gradients, back, strict=True):
            torch.testing.assert_close(part[lane].reshape(one.shape), other, **EXACT)
        for number, wanted_agop in zip(numbers, graph_reference.agops(module, x[lane]), strict=True):
            factor = (tapped.factors[number] @ program.weight(params, number))[lane]
            allowed = 1e-12 * max(1.0, wanted_agop.abs().max().item())
            torch.testing.assert_close(factor.mT @ factor, wanted_agop, rtol=0, atol=allowed)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", names.ACTIVATIONS)
def test_an_mlp_written_as_a_graph_has_the_mlps_numbers(name, bias):
    widths, (x, y) = (5, 7, 6, 3), data(3, 11, 5, 3)
    settings = {"depth": 3, "width": 7, "activation": name, "bias": bias, "skip": False}
    layers = layers_of("resmlp", settings, Input((5,)))
    layers[-2 if name == "linear" else -3]["linear"]["units"] = 6
    program, architecture = GraphProgram(graph(layers, Input((5,)), 3)), Architecture(widths, name, bias=bias)
    weights = stacked("he", widths, range(3))
    biases = tuple(torch.full((3, width, 1), 0.1, dtype=torch.float64) for width in widths[1:]) if bias else ()
    params = tuple(part for pair in zip(weights, biases, strict=True) for part in pair) if bias else weights
    weights = (*weights, *biases)
    torch.testing.assert_close(program.forward(params, x), forward(architecture, weights, x), **EXACT)
    found, loss = program.gradients_and_loss(params, x, y, loss_of("half"))
    wanted, wanted_loss = gradients_and_loss(architecture, weights, x, y, loss_of("half"))
    torch.testing.assert_close(loss, wanted_loss, **EXACT)
    order = [0, 3, 1, 4, 2, 5] if bias else [0, 1, 2]
    for one, other in zip(found, (wanted[place] for place in order), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
    factors, tapped = agop.agop_factors(architecture, weights, x, (1, 2, 3)), program.tapped(params, x, (1, 2, 3))
    for layer, other in factors.items():
        one = tapped.factors[layer] @ program.weight(params, layer)
        torch.testing.assert_close(one.mT @ one, other.mT @ other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("scheme", sorted(names.INITIALISATIONS.keys() - {"given"}))
def test_an_mlp_written_as_a_graph_begins_with_the_mlps_weights_bit_for_bit(scheme):
    layers = [{"linear": 7}, "relu", {"linear": {"units": 6, "bias": True}}, "relu", {"linear": {}}]
    found = GraphProgram(graph(layers, Input((5,)), 3)).initial(scheme, 4, 0.5)
    wanted = [part[0] for part in stacked(scheme, (5, 7, 6, 3), [4], scale=0.5)]
    assert all(torch.equal(found[place], part) for place, part in zip((0, 1, 3), wanted, strict=True))
    assert not found[2].any()


def test_a_kernel_of_one_pixel_on_an_image_of_one_pixel_is_a_linear_map():
    conv = [{"conv": {"channels": 6, "kernel": 1}}, "tanh", "flatten", {"linear": {}}]
    linear = [{"linear": 6}, "tanh", {"linear": {}}]
    one, other = (GraphProgram(graph(*of)) for of in ((conv, Input((4, 1, 1)), 2), (linear, Input((4,)), 2)))
    x, params = _inputs(Input((4,)), 2, 5), _params(other, 2)
    pixels = x.unflatten(-1, (4, 1, 1))
    torch.testing.assert_close(one.forward(params, pixels), other.forward(params, x), **EXACT)
    for layer in (1, 2):
        factors = (one.tapped(params, pixels, [layer]).factors[layer], other.tapped(params, x, [layer]).factors[layer])
        torch.testing.assert_close(*(factor.mT @ factor for factor in factors), **EXACT)
    assert [(m.above, m.next, m.has_residual) for m in one.measured] == [(2, 2, True), (1, None, True)]


def test_a_linear_convolution_net_is_the_linear_net_of_its_unrolled_matrix():
    conv = {"channels": 2, "kernel": 3}
    layers = [{"conv": conv}, {"conv": conv | {"stride": 2}}, "flatten", {"linear": {}}]
    program = GraphProgram(graph(layers, Input((1, 4, 4)), 3))
    x, y, loss = _inputs(Input((1, 4, 4)), 2, 6), torch.ones(2, 6, 3, dtype=torch.float64), loss_of("half")
    params = _params(program, 2)
    basis = torch.eye(16, dtype=torch.float64).reshape(1, 16, 1, 4, 4).expand(2, -1, -1, -1, -1)
    for _ in range(20):
        end_to_end = program.forward(params, basis).mT
        torch.testing.assert_close(program.forward(params, x), x.flatten(2) @ end_to_end.mT, rtol=1e-10, atol=1e-10)
        gradients, value = program.gradients_and_loss(params, x, y, loss)
        torch.testing.assert_close(value, loss.value(x.flatten(2) @ end_to_end.mT, y), rtol=1e-10, atol=1e-10)
        params = tuple(one - 0.1 * gradient for one, gradient in zip(params, gradients, strict=True))


def test_a_step_moves_the_balance_of_neighbouring_linear_maps_inside_a_graph_by_second_order_only():
    layers: list[Any] = [{"conv": {"channels": 3, "kernel": 2}}, "relu", {"pool": "global"}]
    layers += [{"residual": [{"norm": "layer"}, {"linear": 5}, {"linear": 3}]}, {"linear": {}}]
    of = Input((2, 4, 4))
    program = GraphProgram(graph(layers, of, 2))
    assert [one.next for one in program.measured] == [None, 3, None, None]
    x, params = _inputs(of, 2, 6), _params(program, 2)
    gradients, _ = program.gradients_and_loss(params, x, torch.ones(2, 6, 2, dtype=torch.float64), loss_of("half"))
    (w, upper), (g, of_upper) = ([program.weight(part, layer) for layer in (2, 3)] for part in (params, gradients))
    rate = 0.1
    before, after = (b.mT @ b - a @ a.mT for a, b in ((w, upper), (w - rate * g, upper - rate * of_upper)))
    second = rate**2 * (of_upper.mT @ of_upper - g @ g.mT)
    assert second.abs().max() > 1e-8
    torch.testing.assert_close(after - before, second, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_stack_has_its_members_numbers_in_any_order_whatever_its_neighbours(kind):
    of, layers = EVERY_KIND[kind]
    program = GraphProgram(graph(layers, of, 3))
    x, params, loss = _inputs(of, 4, 6), _params(program, 4), loss_of("half")
    y = torch.ones(4, 6, 3, dtype=torch.float64)
    broken = tuple(part.index_fill(0, torch.tensor([1]), torch.nan) for part in params)

    def everything(params: tuple[torch.Tensor, ...], index: list[int]) -> list[torch.Tensor]:
        some, of_x, of_y = tuple(part[index] for part in params), x[index], y[index]
        gradients, value = program.gradients_and_loss(some, of_x, of_y, loss)
        tapped = program.tapped(some, of_x, [one.number for one in program.measured])
        squares = [factor.mT @ factor for factor in tapped.factors.values()]
        return [program.forward(some, of_x), value, *gradients, tapped.outputs, *squares]

    together = everything(params, [0, 1, 2, 3])
    alone = [torch.cat(parts) for parts in zip(*(everything(params, [k]) for k in range(4)), strict=True)]
    permuted, beside_nan = everything(params, [2, 0, 3, 1]), everything(broken, [0, 1, 2, 3])
    for one, other, moved, beside in zip(together, alone, permuted, beside_nan, strict=True):
        torch.testing.assert_close(one, other, **EXACT)
        torch.testing.assert_close(one[[2, 0, 3, 1]], moved, **EXACT)
        torch.testing.assert_close(one[[0, 2, 3]], beside[[0, 2, 3]], **EXACT)
    assert beside_nan[0][1].isnan().all()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_samples_and_outputs_taken_in_parts_give_the_numbers_of_all_at_once(kind, monkeypatch):
    of, layers = EVERY_KIND[kind]
    program = GraphProgram(graph(layers, of, 3))
    x, params, y = _inputs(of, 3, 7), _params(program, 3), torch.ones(3, 7, 3, dtype=torch.float64)
    numbers = [one.number for one in program.measured]

    def everything(block_elements: int) -> list[torch.Tensor]:
        gradients, value = program.gradients_and_loss(params, x, y, loss_of("huber"))
        tapped = program.tapped(params, x, numbers, block_elements)
        squares = [factor.mT @ factor for factor in tapped.factors.values()]
        return [program.forward(params, x), value, *gradients, tapped.outputs, *squares]

    y = torch.cat([y, y[..., :1]], -1)  # huber reads delta behind the targets
    whole = everything(1 << 24)
    monkeypatch.setattr(cost, "TAPE_ELEMENTS", 2 * cost.numbers_per_sample(program.graph))
    assert cost.samples_at_once(program.graph, 7) == 2
    for one, other in zip(everything(1), whole, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_what_second_derivatives_are_taken_of_has_the_same_outputs_and_gradients(kind):
    of, layers = EVERY_KIND[kind]
    program = GraphProgram(graph(layers, of, 3))
    x, params, y = _inputs(of, 2, 5), _params(program, 2), torch.ones(2, 5, 3, dtype=torch.float64)
    leaves = tuple(part.clone().requires_grad_() for part in params)
    outputs = program.taped(params).outputs(leaves, x)
    torch.testing.assert_close(outputs.detach(), program.forward(params, x), **EXACT)
    recorded = torch.autograd.grad((outputs - y).square().sum() / 10, leaves)
    for one, other in zip(program.gradients(params, x, y, loss_of("half")), recorded, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_keeps_shapes_and_the_dtype_of_its_parameters(kind, dtype, lanes):
    of, layers = EVERY_KIND[kind]
    program = GraphProgram(graph(layers, of, 3))
    wide, x, y = _params(program, lanes), _inputs(of, lanes, 5), torch.ones(lanes, 5, 3, dtype=torch.float64)
    params, given = tuple(part.to(dtype) for part in wide), x if of.vocabulary else x.to(dtype)
    numbers = [one.number for one in program.measured]
    outputs, (gradients, loss) = (
        program.forward(params, given),
        program.gradients_and_loss(params, given, y.to(dtype), loss_of("half")),
    )
    tapped = program.tapped(params, given, numbers)
    assert outputs.shape == (lanes, 5, 3) and loss.shape == (lanes,)
    assert [part.shape for part in gradients] == [part.shape for part in params]
    for one in program.measured:
        assert tapped.factors[one.number].shape[::2] == (lanes, one.outputs)
    assert {part.dtype for part in (outputs, loss, *gradients, tapped.outputs, *tapped.factors.values())} == {dtype}
    torch.testing.assert_close(outputs.double(), program.forward(wide, x), rtol=1e-4, atol=1e-4)


_HEAD: list[Any] = [{"linear": {}}]
_CONV = {"conv": {"channels": 3, "kernel": 3}}
_SAME: dict[str, tuple[Input, list[Any]]] = {
    "two activations in a row before the head": (Input((5,)), [{"linear": 6}, "tanh", "relu", *_HEAD]),
    "no activation at all": (Input((5,)), [{"linear": 6}, {"linear": 4}, *_HEAD]),
    "an activation behind the readout": (Input((4, 3)), [{"linear": 5}, {"readout": "last"}, "tanh", *_HEAD]),
    "an average of all pixels": (
        Input((2, 5, 4)),
        [_CONV, "tanh", {"conv": {"channels": 4, "kernel": 2}}, "relu", {"pool": "global"}, *_HEAD],
    ),
    "pixels side by side": (
        Input((2, 4, 4)),
        [_CONV, "relu", {"conv": {"channels": 2, "kernel": 2}}, "tanh", "flatten", *_HEAD],
    ),
    "averages of squares": (
        Input((2, 4, 4)),
        [{"conv": {"channels": 3, "kernel": 3, "stride": 2}}, {"pool": {"size": 2}}, "flatten", *_HEAD],
    ),
    "an activation behind flattening": (Input((2, 4, 4)), [_CONV, "flatten", "tanh", *_HEAD]),
    "tokens with an activation before their mean": (
        Input((4, 3)),
        [{"linear": 5}, "gelu", {"linear": 3}, "tanh", {"readout": "mean"}, *_HEAD],
    ),
}


@pytest.mark.parametrize("name", _SAME)
def test_derivatives_that_all_samples_share_give_the_agops_of_each_sample_alone(name: str) -> None:
    of, layers = _SAME[name]
    program = GraphProgram(graph(layers, of, 3))
    params, x = _params(program, 2), _inputs(of, 2, 12)
    asked = [one.number for one in program.measured]
    for block in (cost.JACOBIAN_ELEMENTS, 300):
        # at one layer alone, those above it need not be told of each sample
        factors = {layer: program.tapped(params, x, [layer], block).factors[layer] for layer in asked}
        together = program.tapped(params, x, asked, block).factors
        for lane in range(2):
            module = graph_reference.reference(layers, x[lane], 3)
            graph_reference.load(module, [part[lane] for part in params])
            for layer, wanted in zip(asked, graph_reference.agops(module, x[lane]), strict=True):
                for found in (factors, together):
                    factor = found[layer][lane] @ program.weight(params, layer)[lane]
                    torch.testing.assert_close(factor.mT @ factor, wanted, **EXACT)


@pytest.mark.parametrize("name", EVERY_KIND)
def test_a_layer_asked_for_alone_has_the_factor_that_it_has_beside_all_others(name: str) -> None:
    of, layers = EVERY_KIND[name]
    program = GraphProgram(graph(layers, of, 3))
    params, x = _params(program, 2), _inputs(of, 2, 5)
    together = program.tapped(params, x, [one.number for one in program.measured]).factors
    for layer, factor in together.items():
        alone = program.tapped(params, x, [layer]).factors[layer]
        torch.testing.assert_close(alone.mT @ alone, factor.mT @ factor, **EXACT)
