"""Biases and layer multipliers in forward pass, gradients, AGOP and metrics, against torch's own derivatives."""

import pytest
import torch
from builders import data, stacked

from nfa_kernels import names
from nfa_kernels.agop import agop_factors
from nfa_kernels.losses import LOSSES, loss_of, loss_targets
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture, check_stack, forward, gradients_and_loss
from nfa_kernels.parameterizations import multipliers

WIDTHS = (5, 7, 6, 3)
CHOICES = [(bias, name) for bias in (False, True) for name in names.PARAMETERIZATIONS]


def _params(architecture, lanes=3):
    """Weights of several seeds, and biases that are not zero."""
    weights = stacked("xavier", architecture.widths, range(lanes), scale=2.0)
    generator = torch.Generator().manual_seed(7)
    draw = lambda bias: bias + 0.3 * torch.randn(bias.shape, generator=generator, dtype=bias.dtype)  # noqa: E731
    return (*weights, *(draw(bias) for bias in architecture.zero_biases(weights)))


def _by_the_formula(architecture, params, x):
    """f(x) = c_L W_L phi(.. phi(c_1 W_1 x + b_1)) + b_L for one network and one sample."""
    depth, hidden = architecture.depth, x
    for index, c in enumerate(multipliers(architecture.parameterization, architecture.widths)):
        hidden = c * params[index] @ hidden
        if architecture.bias:
            hidden = hidden + params[depth + index][:, 0]
        if index < depth - 1:
            hidden = architecture.phi.function(hidden)
    return hidden


def test_multipliers_are_those_of_the_formulas():
    assert multipliers("standard", (4, 9, 16, 2)) == (1, 1, 1)
    assert multipliers("ntk", (4, 9, 16, 2)) == (1 / 2, 1 / 3, 1 / 4)
    assert multipliers("mean_field", (4, 9, 16, 2)) == (1 / 2, 1 / 3, 1 / 16)
    with pytest.raises(ValueError, match="parameterization: received 'mu', allowed are standard, ntk, mean_field, mup"):
        Architecture((4, 2), parameterization="mu")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", names.ACTIVATIONS)
@pytest.mark.parametrize(("bias", "parameterization"), CHOICES)
def test_gradients_equal_autograd(activation, bias, parameterization, loss):
    architecture = Architecture(WIDTHS, activation, bias=bias, parameterization=parameterization)
    params, (x, y) = _params(architecture), data(3, 8, 5, 3)
    y = torch.softmax(y, -1) if loss == "cross_entropy" else (y > 0).double() if loss == "logistic" else y
    y = loss_targets(loss, y, {"huber_delta": torch.tensor([0.3, 1.0, 20.0])})
    found, value = gradients_and_loss(architecture, params, x, y, loss_of(loss))
    tracked = tuple(array.clone().requires_grad_() for array in params)
    wanted = loss_of(loss).value(forward(architecture, tracked, x), y)
    torch.testing.assert_close(value, wanted.detach(), rtol=1e-13, atol=1e-14)
    for one, other in zip(found, torch.autograd.grad(wanted.sum(), tracked), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("bias", "parameterization"), CHOICES)
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
def test_outputs_and_the_agop_equal_the_formula_sample_by_sample(activation, bias, parameterization):
    architecture = Architecture(WIDTHS, activation, bias=bias, parameterization=parameterization)
    params, (x, _) = _params(architecture), data(3, 8, 5, 3)
    outputs = forward(architecture, params, x)
    factor = agop_factors(architecture, params, x, [1])[1]
    for lane in range(3):
        own = [array[lane] for array in params]
        jacobians = []
        for sample in range(8):
            apart = _by_the_formula(architecture, own, x[lane, sample])
            torch.testing.assert_close(outputs[lane, sample], apart, rtol=1e-12, atol=1e-13)
            jacobians.append(
                torch.func.jacrev(lambda point, own=own: _by_the_formula(architecture, own, point))(x[lane, sample])
            )
        wanted = sum(jacobian.T @ jacobian for jacobian in jacobians) / 8
        torch.testing.assert_close(factor[lane].T @ factor[lane], wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("parameterization", names.PARAMETERIZATIONS)
@pytest.mark.parametrize("depth", [1, 2, 5, 64])
def test_balanced_weights_satisfy_the_theorem_at_every_layer_under_every_parameterisation(parameterization, depth):
    widths = (6, *[8] * (depth - 1), 4)
    architecture = Architecture(widths, parameterization=parameterization)
    params, (x, y) = stacked("balanced", widths, range(2), scale=0.9), data(2, 20, 6, 4)
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half")
    layers = tuple(sorted({1, (depth + 1) // 2, depth}))
    found = measure(architecture, params, prepared, Request(("alignment", "residual"), layers), "half")
    for layer in layers:
        assert (1 - found.layers[layer]["alignment"]).abs().max() <= 1e-12
        assert found.layers[layer]["residual"].max() <= 1e-10


def test_biases_change_no_definition_on_weights():
    architecture, plain = Architecture(WIDTHS, "tanh", bias=True), Architecture(WIDTHS, "tanh")
    weights, (x, y) = stacked("he", WIDTHS, range(2)), data(2, 9, 5, 3)
    wanted, found = (
        measure(
            one,
            (*weights, *one.zero_biases(weights)),
            measured_data(one, x, y, x[:, :0], y[:, :0], "half"),
            Request(("alignment", "imbalance", "weight_norm", "gradient_norm", "train_loss"), (1, 2)),
            "half",
        )
        for one in (plain, architecture)
    )
    for name, value in wanted.network.items():
        torch.testing.assert_close(found.network[name], value, rtol=1e-13, atol=0)
    torch.testing.assert_close(found.layers[2]["alignment"], wanted.layers[2]["alignment"], rtol=1e-13, atol=0)


def test_biases_that_do_not_fit_are_refused_by_name():
    architecture, (x, _) = Architecture((5, 4, 3), bias=True), data(2, 6, 5, 3)
    weights = stacked("he", (5, 4, 3), range(2))
    with pytest.raises(ValueError, match="received 2 arrays, needed are weights and biases of 2 layers"):
        check_stack(architecture, weights, x)
    wrong = (*weights, torch.zeros(2, 4, 1, dtype=x.dtype), torch.zeros(2, 4, 1, dtype=x.dtype))
    with pytest.raises(ValueError, match=r"biases: layer 2 has shape \(2, 4, 1\), needed is \(2, 3, 1\)"):
        check_stack(architecture, wrong, x)
