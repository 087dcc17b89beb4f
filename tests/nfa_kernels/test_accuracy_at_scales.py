"""Accuracy is right or undefined at every scale of the weights: outputs that underflow tie, and they did not."""

import pytest
import torch
from builders import data, stacked

from nfa_kernels.classification import accuracy
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.measuring import measure_program, program_data

SCALES = (1e-150, 1e-135, 1e-120, 1e-107, 1e-103, 1e-98, 1e-90, 1e-81, 1e-77, 1e-70, 1e-50, 1e50, 1e81, 1e107, 1e150)
ASKED = Request(("accuracy",), ())


def classes(rows, kind):
    """Targets (K, N, C) that name a class: one-hot rows, or one column of -1 / 1 or 0 / 1."""
    if kind == "one_hot":
        return torch.nn.functional.one_hot(rows.argmax(-1), rows.shape[-1]).double()
    return (rows > 0).double() if kind == "0 and 1" else torch.where(rows > 0, 1.0, -1.0).double()


def found(widths, activation, scales, *, kind="one_hot", loss="half", dtype=torch.float64, x=None, **architecture):
    """(K,) accuracy of a stack of four whose layers are multiplied by numbers."""
    made = Architecture(widths, activation, **architecture)
    inputs, rows = data(4, 40, widths[0], widths[-1])
    weights = tuple(
        (weight * scale).to(dtype) for weight, scale in zip(stacked("he", widths, range(4)), scales, strict=True)
    )
    inputs = inputs if x is None else x(inputs)
    y = classes(rows, kind)
    prepared = measured_data(made, inputs, y, inputs[:, :0], y[:, :0], loss, dtype=dtype)
    return measure(made, (*weights, *made.zero_biases(weights)), prepared, ASKED, loss).network["accuracy"]


def assert_right_or_undefined(accuracies, wanted, told):
    assert not wanted.isnan().any()
    assert ((accuracies == wanted) | accuracies.isnan()).all(), (told, accuracies, wanted)


@pytest.mark.parametrize(("kind", "loss"), [("one_hot", "half"), ("-1 and 1", "half"), ("0 and 1", "logistic")])
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "quadratic"])
@pytest.mark.parametrize("widths", [(6, 8, 5, 3), (5, 6, 4, 6, 3), (6, 4), (4, 3, 3, 3, 3, 3, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_network_times_a_number_is_as_often_right(widths, activation, kind, loss, bias):
    widths = widths if kind == "one_hot" else (*widths[:-1], 1)
    asked = {"kind": kind, "loss": loss, "bias": bias}
    wanted = found(widths, activation, [1.0] * (len(widths) - 1), **asked)
    for scale in SCALES:
        assert_right_or_undefined(found(widths, activation, [scale] * (len(widths) - 1), **asked), wanted, scale)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "silu", "erf"])
@pytest.mark.parametrize("depth", [2, 3, 4, 6])
def test_a_network_near_zero_is_as_often_right_as_one_less_near(activation, depth):
    widths = (5, *[6] * (depth - 1), 3)
    wanted = found(widths, activation, [1e-30] * depth)
    for scale in SCALES:
        if scale < 1e-30:
            assert_right_or_undefined(found(widths, activation, [scale] * depth), wanted, scale)


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize(
    "scales",
    [
        *((1e-200, 1e-200, 1e200), (1e-165, 1e-155, 1e150), (1e200, 1e-200, 1e-200), (1e-160, 1e-160, 1.0)),
        *((1e-110, 1e-110, 1e-110), (1e300, 1e-300, 1e-20), (1e-20, 1e-300, 1e300)),
    ],
)
def test_layers_of_very_different_scales_are_as_often_right(activation, scales):
    wanted = found((6, 8, 5, 3), activation, [1.0] * 3)
    assert_right_or_undefined(found((6, 8, 5, 3), activation, scales), wanted, scales)


@pytest.mark.parametrize("power", [-45, -36, -30, -20, -15, -13, -11, -9, 11, 13, 30, 36])
def test_passes_in_float32_are_right_or_undefined_too(power):
    wanted = found((6, 8, 7, 3), "relu", [1.0] * 3, dtype=torch.float32)
    assert_right_or_undefined(found((6, 8, 7, 3), "relu", [10.0**power] * 3, dtype=torch.float32), wanted, power)


@pytest.mark.parametrize(
    ("activation", "depth", "scale"), [("relu", 3, 1e-95), ("linear", 4, 1e-70), ("tanh", 2, 1e-140)]
)
def test_where_nothing_underflows_accuracy_is_a_number(activation, depth, scale):
    widths = (6, *[8] * (depth - 1), 3)
    assert torch.equal(found(widths, activation, [scale] * depth), found(widths, activation, [1e-30] * depth))


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-150])
def test_inputs_near_zero_are_right_or_undefined_and_rows_of_zeros_tie(size):
    wanted = found((6, 8, 5, 3), "relu", [1.0] * 3)
    assert_right_or_undefined(found((6, 8, 5, 3), "relu", [1e-50] * 3, x=lambda x: x * size), wanted, size)

    def blank(x):
        x = x * torch.ones_like(x)
        x[:, ::2] = 0
        return x

    halved = found((6, 8, 5, 3), "relu", [1e-150] * 3, x=lambda x: x * 0)
    assert (halved == 0).all()
    assert (found((6, 8, 5, 3), "relu", [1.0] * 3, x=blank) <= 0.5).all()


def test_ordinary_networks_that_tie_are_wrong_there():
    """Samples that reach no unit, and layers that are zero, have outputs of zero that no underflow made."""
    tied = found((6, 8, 5, 3), "relu", [1.0, 1.0, 0.0])
    assert tied.tolist() == [0, 0, 0, 0]
    assert found((6, 8, 5, 3), "relu", [1e-150, 0.0, 1e-150]).tolist() == [0, 0, 0, 0]
    dead = Architecture((1, 2, 2), "relu")
    x, y = torch.tensor([[[1.0], [-1.0]]]).double(), torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]).double()
    weights = (torch.ones(1, 2, 1).double(), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]).double())
    prepared = measured_data(dead, x, y, x[:, :0], y[:, :0], "half")
    assert measure(dead, weights, prepared, ASKED, "half").network["accuracy"].tolist() == [0.5]


def test_a_threshold_of_a_half_is_not_doubted():
    """Outputs near zero are on the side of 0, however near."""
    share = found((6, 8, 1), "relu", [1e-150] * 2, kind="0 and 1")
    _, rows = data(4, 40, 6, 1)
    assert torch.equal(share, (classes(rows, "0 and 1") == 0).double().mean((1, 2)))


def test_one_network_that_underflows_leaves_its_neighbours_their_accuracy():
    widths, (x, rows) = (6, 8, 5, 3), data(4, 40, 6, 3)
    scales = torch.tensor([1.0, 1e-120, 1.0, 1.0], dtype=torch.float64)[:, None, None]
    architecture, y = Architecture(widths, "relu"), classes(rows, "one_hot")
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half")
    weights = tuple(weight * scales for weight in stacked("he", widths, range(4)))
    share = measure(architecture, weights, prepared, ASKED, "half").network["accuracy"]
    wanted = found(widths, "relu", [1.0] * 3)
    assert share.isnan().tolist() == [False, True, False, False]
    assert torch.equal(share[~share.isnan()], wanted[~share.isnan()])


GRAPHS = {
    "a chain": (["flatten", {"linear": 8}, "relu", {"linear": 7}, "relu", {"linear": {}}], True),
    "a convnet": ([{"conv": {"channels": 4, "kernel": 3}}, "relu", {"pool": "global"}, {"linear": {}}], True),
    "biases": (["flatten", {"linear": {"units": 8, "bias": True}}, "relu", {"linear": {"bias": True}}], True),
    "squares": (["flatten", {"linear": 8}, "quadratic", {"linear": 7}, "quadratic", {"linear": {}}], True),
    "a residual connection": (
        ["flatten", {"linear": 8}, {"residual": [{"linear": 8}, "relu", {"linear": 8}]}, {"linear": {}}],
        False,
    ),
    "a norm": (["flatten", {"linear": 8}, "relu", {"norm": "rms"}, {"linear": {}}], False),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_stacks_of_graphs_are_right_or_undefined_too(name):
    """Where a graph's outputs are no power of the scale, near zero they are, of its lowest."""
    layers, is_homogeneous = GRAPHS[name]
    program = GraphProgram(graph(layers, Input((1, 4, 4)), 3))
    x, rows = data(4, 40, 16, 3)
    x, y = x.unflatten(-1, (1, 4, 4)), classes(rows, "one_hot")
    prepared = program_data(program, x, y, x[:, :0], y[:, :0], "half")
    drawn = zip(*(program.initial("he", seed) for seed in range(4)), strict=True)
    params = tuple(torch.stack(part) for part in drawn)

    def of(scale):
        scaled = tuple(part * scale for part in params)
        return measure_program(program, scaled, prepared, ASKED, "half").network["accuracy"]

    reference = 1.0 if is_homogeneous else 1e-20
    for scale in SCALES:
        if is_homogeneous or scale < reference:
            assert_right_or_undefined(of(scale), of(reference), (name, scale))
    assert not of(1e-30).isnan().any()


def test_tokens_are_names_and_none_of_them_is_small():
    program = GraphProgram(graph([{"embedding": 4}, {"readout": "last"}, {"linear": {}}], Input((2,), 5), 5))
    x = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0)).double()[None]
    y = torch.nn.functional.one_hot(x.sum(-1).long() % 5, 5).double()
    prepared = program_data(program, x, y, x[:, :0], y[:, :0], "half")
    params = tuple(part[None] for part in program.initial("he", 0))

    def of(scale):
        return measure_program(program, tuple(part * scale for part in params), prepared, ASKED, "half").network[
            "accuracy"
        ]

    for scale in SCALES:
        assert_right_or_undefined(of(scale), of(1.0), scale)


def test_outputs_nearer_than_their_resolution_tell_nothing():
    outputs, targets, resolution = (
        torch.tensor(rows, dtype=torch.float64)
        for rows in ([[[1.0, 0.0], [3e-300, 1e-300]]], [[[1.0, 0.0], [1.0, 0.0]]], [[1e-301, 1e-301]])
    )
    assert accuracy(outputs, targets).tolist() == [1.0]
    assert accuracy(outputs, targets, resolution=resolution).tolist() == [1.0]
    assert accuracy(outputs, targets, resolution=resolution * 100).isnan().all()
