"""Metrics of stacks of graphs: the MLP's where the graph is one, undefined where no theorem speaks."""

from typing import Any

import graph_reference
import pytest
import torch
from builders import data, stacked

from nfa_kernels import names
from nfa_kernels.data import make_data
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.graphs.named import layers_of
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Measured, Request, measure
from nfa_kernels.networks import Architecture
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.measuring import measure_program, program_data

EVERYTHING = (*names.METRICS, "agop_singular_value@2", "gram_agop_subspace@1")


def _named(measured: Measured) -> dict[str, torch.Tensor]:
    """Every value by the metric's id, and of a layer with its number."""
    layers = {f"{layer}.{name}": value for layer, of in measured.layers.items() for name, value in of.items()}
    return measured.network | layers | {f"{layer}.{name}": value for layer, name, value in measured.parametrised}


def _moved(params: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    return tuple(part + 0.1 * torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in params)


@pytest.mark.parametrize(
    ("name", "parameterization"),
    [("linear", "standard"), ("relu", "standard"), ("gelu", "standard")]
    + [(name, one) for name in ("linear", "tanh") for one in names.PARAMETERIZATIONS if one != "standard"],
)
def test_every_metric_of_an_mlp_written_as_a_graph_is_the_mlps(name, parameterization):
    widths, (x, y), (x_test, y_test) = (5, 7, 6, 3), data(3, 31, 5, 3), data(3, 4, 5, 3, seed=1)
    y, y_test = (torch.nn.functional.one_hot(part.argmax(-1), 3).double() for part in (y, y_test))
    activation = [] if name == "linear" else [name]
    layers = [{"linear": 7}, *activation, {"linear": 6}, *activation, {"linear": {}}]
    program = GraphProgram(graph(layers, Input((5,)), 3), parameterization)
    architecture = Architecture(widths, name, parameterization=parameterization)
    first = stacked("he", widths, range(3))
    weights, decay = _moved(first), torch.tensor([0.0, 0.1, 0.2], dtype=torch.float64)
    request = Request(EVERYTHING, (1, 2, 3), (0.25,))
    found = _named(
        measure_program(
            program,
            weights,
            program_data(program, x, y, x_test, y_test, "half"),
            request,
            "half",
            initial=first,
            weight_decay=decay,
        )
    )
    wanted = _named(
        measure(
            architecture,
            weights,
            measured_data(architecture, x, y, x_test, y_test, "half"),
            request,
            "half",
            initial=first,
            weight_decay=decay,
        )
    )
    assert found.keys() == wanted.keys()
    for metric, value in wanted.items():
        # an exponent is where a derivative of cosines vanishes, whose last digits weak curvature blows up
        close = 1e-8 if "best_exponent" in metric else 1e-10
        torch.testing.assert_close(found[metric], value, rtol=close, atol=close, equal_nan=True, msg=metric)


def test_what_no_theorem_gives_a_meaning_is_undefined_and_all_else_is_a_number():
    layers: list[Any] = [
        {"conv": {"channels": 4, "kernel": 3}},
        "gelu",
        {"pool": "global"},
        {"residual": [{"norm": "layer"}, {"linear": 6}, "relu", {"linear": 4}]},
        {"linear": {}},
    ]
    program = GraphProgram(graph(layers, Input((1, 5, 5)), 3))
    x, y = data(2, 9, 25, 3)
    parts = zip(*(program.initial("he", seed) for seed in (0, 1)), strict=True)
    first = tuple(torch.stack(part) for part in parts)
    images = x.unflatten(-1, (1, 5, 5))
    prepared = program_data(program, images, y, images[:, :0], y[:, :0], "half")
    request, decay = Request(EVERYTHING, (1, 2, 3, 4)), torch.ones(2, dtype=torch.float64)
    found = _named(
        measure_program(program, _moved(first), prepared, request, "half", initial=first, weight_decay=decay)
    )
    undefined = {metric for metric, value in found.items() if value.isnan().any()}
    assert undefined - {f"{layer}.best_exponent" for layer in range(1, 5)} == {
        "test_loss",
        "generalisation_gap",
        "accuracy",
        "modes",
        "imbalance",
        "imbalance_relative",
        *(f"{layer}.residual" for layer in range(1, 5)),
        *(f"{layer}.layer_imbalance" for layer in (1, 3, 4)),
    }


def test_a_lane_that_is_no_number_is_undefined_and_harms_no_neighbour():
    program = GraphProgram(graph([{"linear": 4}, {"norm": "rms"}, {"linear": {}}], Input((3,)), 2))
    params = tuple(torch.stack([part] * 3) for part in program.initial("he", 0))
    params[0][1] = torch.nan
    x, y = data(1, 6, 3, 2)
    x, y = x.expand(3, -1, -1), y.expand(3, -1, -1)
    prepared = program_data(program, x, y, x[:, :0], y[:, :0], "half")
    request = Request(("train_loss", "alignment", "best_alignment", "agop_rank"), (1, 2))
    for value in _named(measure_program(program, params, prepared, request, "half")).values():
        assert value.isnan().tolist() == [False, True, False]
        assert value[0] == value[2]


@pytest.mark.parametrize(
    ("data", "change", "told"),
    [
        (Input((3,)), lambda x: x[..., :2], r"x: received shape \(1, 4, 2\), needed is \(K, N >= 1, 3\)"),
        (Input((3,)), lambda x: x[:, :0], r"x: received shape \(1, 0, 3\), needed is \(K, N >= 1, 3\)"),
        (Input((3,)), lambda x: x / 0, "x: network 0 of the stack has a number that is not finite"),
        (Input((3,), 5), lambda x: x + 5, r"x: received other than whole numbers 0\.\.4"),
        (Input((3,), 5), lambda x: x + 0.5, r"x: received other than whole numbers 0\.\.4"),
        (Input((3,), 5), lambda x: x - 5, r"x: received other than whole numbers 0\.\.4"),
    ],
)
def test_data_that_do_not_fit_the_graph_are_refused(data, change, told):
    head = {"linear": {}}
    layers = [{"embedding": 2}, {"readout": "mean"}, head] if data.vocabulary else [head]
    program = GraphProgram(graph(layers, data, 2))
    x, y = torch.arange(12.0).reshape(1, 4, 3) % 5, torch.zeros(1, 4, 2)
    program_data(program, x, y, x[:, :0], y[:, :0], "half")
    with pytest.raises(ValueError, match=told):
        program_data(program, change(x), y, x[:, :0], y[:, :0], "half")


def test_the_patch_agop_of_a_trained_digits_convnet_is_a_loop_over_samples_and_positions():
    of = Input((1, 8, 8))
    settings = {"depth": 3, "channels": 6, "kernel": 3, "stride": 2, "activation": "relu", "bias": True}
    layers = layers_of("convnet", settings, of)
    program = GraphProgram(graph(layers, of, 10))
    digits = make_data("digits", 0, samples=60, layout="image")
    x, y = digits.x.unsqueeze(0), digits.y.unsqueeze(0)
    with torch.inference_mode():
        params = tuple(part.unsqueeze(0) for part in program.initial("he", 0))
        losses = []
        for _ in range(60):
            gradients, loss = program.gradients_and_loss(params, x, y, loss_of("cross_entropy"))
            params = tuple(one - 0.3 * gradient for one, gradient in zip(params, gradients, strict=True))
            losses.append(loss.item())
        tapped = program.tapped(params, x, [1, 2, 3])
    assert losses[-1] < 0.5 * losses[0]
    module = graph_reference.reference(layers, x[0].clone(), 10)
    graph_reference.load(module, [part[0].clone() for part in params])
    for number, wanted in enumerate(graph_reference.agops(module, x[0].clone()), 1):
        factor = (tapped.factors[number] @ program.weight(params, number))[0]
        torch.testing.assert_close(factor.mT @ factor, wanted, rtol=1e-10, atol=1e-10 * wanted.abs().max().item())


def test_layers_whose_product_underflows_have_no_alignment_that_looks_like_one():
    program = GraphProgram(graph([{"linear": 4}, "relu", {"linear": 4}, "relu", {"linear": {}}], Input((3,)), 2))
    params = tuple(torch.stack([part, part * 1e-120]) for part in program.initial("he", 0))
    x, y = data(2, 6, 3, 2)
    prepared = program_data(program, x, y, x[:, :0], y[:, :0], "half")
    request, architecture = (
        Request(("alignment", "best_alignment", "uc_nfa"), (1, 2, 3)),
        Architecture((3, 4, 4, 2), "relu"),
    )
    found = _named(measure_program(program, params, prepared, request, "half"))
    assert found["1.alignment"].isnan().tolist() == [False, True]
    wanted = measure(
        architecture, params, measured_data(architecture, x, y, x[:, :0], y[:, :0], "half"), request, "half"
    )
    for metric, value in _named(wanted).items():
        torch.testing.assert_close(found[metric], value, rtol=1e-10, atol=1e-10, equal_nan=True, msg=metric)
