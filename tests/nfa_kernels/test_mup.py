"""The maximal update parameterisation: its table, and steps of order one at every width."""

import itertools

import pytest
import torch

from nfa_kernels import names
from nfa_kernels.initialisations import initial_weights
from nfa_kernels.losses import loss_of
from nfa_kernels.networks import Architecture, gradients, layers
from nfa_kernels.optimizers import OPTIMIZERS
from nfa_kernels.optimizers.groups import grouped, init, step
from nfa_kernels.parameterizations import (
    ROLES,
    Scaling,
    initial_factors,
    layer_scalings,
    multipliers,
    roles,
    scaling,
)

WIDTHS = (64, 256, 1024)
RATES = {"gradient": 0.5, "sign": 0.05, "orthogonal": 0.05}


def test_roles_are_those_of_the_widths_that_grow():
    assert roles(1) == ("direct",) and roles(2) == ("input", "output")
    assert roles(4, bias=True) == ("input", "hidden", "hidden", "output", "bias", "bias", "bias", "output_bias")


@pytest.mark.parametrize(
    ("role", "steps", "wanted"),
    [
        ("input", "gradient", Scaling(1 / 5, 5.0, 1.0)),
        ("input", "sign", Scaling(1 / 5, 5.0, 1 / 5)),
        ("input", "orthogonal", Scaling(1 / 5, 5.0, 1 / 5)),
        ("hidden", "gradient", Scaling(1.0, 1.0, 1.0)),
        ("hidden", "sign", Scaling(1.0, 1.0, 1 / 16)),
        ("output", "gradient", Scaling(1.0, 1 / 4, 1.0)),
        ("output", "sign", Scaling(1.0, 1 / 4, 1 / 4)),
        ("bias", "gradient", Scaling(1.0, 1.0, 25.0)),
        ("bias", "sign", Scaling()),
        ("output_bias", "gradient", Scaling()),
        ("direct", "sign", Scaling()),
    ],
)
def test_the_table_is_that_of_the_page(role, steps, wanted):
    """fan_in 16, fan_out 25."""
    assert scaling("mup", role, 16, 25, steps) == pytest.approx(wanted, rel=1e-15)


@pytest.mark.parametrize("name", ["standard", "ntk", "mean_field"])
def test_other_parameterisations_scale_no_draw_and_no_rate(name):
    for role, steps in itertools.product(ROLES, ("gradient", "sign", "orthogonal")):
        found = scaling(name, role, 16, 25, steps)
        assert (found.init, found.rate) == (1.0, 1.0) and ("bias" not in role or found.multiplier == 1)


def test_schemes_that_are_not_of_variance_one_over_fan_in_are_left_as_they_are():
    assert initial_factors("mup", "lecun", (3, 16, 16, 2)) == (1 / 4, 1, 1)
    assert (
        initial_factors("mup", "balanced", (3, 16, 16, 2)) == initial_factors("ntk", "he", (3, 16, 16, 2)) == (1, 1, 1)
    )
    assert set(names.FAN_IN_SCHEMES) | set(names.NOT_FOR_MUP) < set(names.INITIALISATIONS)


def _stepped(width, optimizer, parameterization, steps=1):
    """Root mean squares of the changes of outputs and of every hidden pre-activation after some steps."""
    widths, generator = (8, width, width, 3), torch.Generator().manual_seed(0)
    architecture = Architecture(widths, "relu", bias=True, parameterization=parameterization)
    x = torch.randn(1, 20, 8, generator=generator, dtype=torch.float64)
    y = torch.randn(1, 20, 3, generator=generator, dtype=torch.float64)
    drawn = zip(initial_weights("lecun", widths, 0), initial_factors(parameterization, "lecun", widths), strict=True)
    params = tuple((factor * weight)[None] for weight, factor in drawn)
    params = (*params, *architecture.zero_biases(params))
    rule, kind = OPTIMIZERS[optimizer], names.OPTIMIZERS[optimizer].steps
    found = layer_scalings(parameterization, widths, bias=True, steps=kind)
    rates = [torch.tensor([RATES[kind] * one.rate], dtype=torch.float64) for one in found]
    numbers = {"momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-30, "rho": 0.99}
    shared = {
        name: torch.full((1, 1, 1), numbers[name], dtype=torch.float64)
        for name in names.OPTIMIZERS[optimizer].hyperparameters
    }
    groups = grouped(rates, [torch.zeros(1, dtype=torch.float64)] * len(rates), shared)
    state, after = init(rule, groups, params), params
    for _ in range(steps):
        after, state = step(rule, groups, after, gradients(architecture, after, x, y, loss_of("half")), state)
    before, now = (layers(architecture, one, x) for one in (params, after))
    # fit for derivatives alone, hidden pre-activations of relu keep what is positive
    return [float((b - a).square().mean().sqrt()) for (a, _), (b, _) in zip(before, now, strict=True)]


RULES = ["gd", "momentum", "adam", "rmsprop", "lion", "signsgd", "muon"]


@pytest.mark.parametrize("optimizer", RULES)
def test_a_step_changes_outputs_and_features_by_order_one_at_every_width(optimizer):
    changes = [_stepped(width, optimizer, "mup") for width in WIDTHS]
    for place, of_layer in enumerate(zip(*changes, strict=True)):
        assert max(of_layer) < 2 * min(of_layer), f"layer {place + 1}: {of_layer}"
        assert min(of_layer) > 1e-3


@pytest.mark.parametrize("optimizer", RULES)
def test_a_standard_networks_step_changes_outputs_the_more_the_wider_it_is(optimizer):
    outputs = [_stepped(width, optimizer, "standard")[-1] for width in WIDTHS]
    # sixteen times as wide
    assert outputs[2] > 3 * outputs[0]


def test_several_steps_stay_of_order_one():
    outputs = [_stepped(width, "adam", "mup", steps=5)[-1] for width in WIDTHS]
    assert max(outputs) < 2 * min(outputs)


def test_outputs_begin_at_one_over_the_root_of_the_width():
    x = torch.randn(1, 50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for width in WIDTHS:
        widths = (8, width, width, 3)
        drawn = zip(initial_weights("lecun", widths, 1), initial_factors("mup", "lecun", widths), strict=True)
        params = tuple((factor * weight)[None] for weight, factor in drawn)
        passed = layers(Architecture(widths, "tanh", parameterization="mup"), params, x)
        found.append(passed[-1][0].square().mean().item() * width)
    assert max(found) < 3 * min(found)


def test_linear_networks_conserve_their_balance_under_one_rate():
    """c_1 .. c_L multiply all gradients alike, so D_l moves by second order only, as SGD's formula says."""
    widths, rate = (5, 16, 16, 3), 1e-3
    architecture = Architecture(widths, parameterization="mup")
    params = tuple(weight[None] for weight in initial_weights("lecun", widths, 0))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 30, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(1, 30, 3, generator=generator, dtype=torch.float64)
    found = gradients(architecture, params, x, y, loss_of("half"))
    after = tuple(weight - rate * gradient for weight, gradient in zip(params, found, strict=True))

    def imbalances(of):
        return [upper.mT @ upper - lower @ lower.mT for lower, upper in itertools.pairwise(of)]

    for before, now, (lower, upper) in zip(
        imbalances(params), imbalances(after), itertools.pairwise(found), strict=True
    ):
        torch.testing.assert_close(
            now, before + rate**2 * (upper.mT @ upper - lower @ lower.mT), rtol=1e-12, atol=1e-13
        )
    assert multipliers("mup", widths) == (4.0, 1.0, 0.25)
