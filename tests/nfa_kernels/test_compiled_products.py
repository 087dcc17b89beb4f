"""Products of linear networks' matrices, and how large gradients are, by compiled code: the tensor library's."""

import pytest
import torch
from builders import data, stacked
from compilers import needs_compiler

from nfa_kernels import agop
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.native.linear_networks import gradient_squares, partial_products
from nfa_kernels.native.metrics import sums_of_squares
from nfa_kernels.networks import Architecture, gradients, gradients_and_loss

pytestmark = needs_compiler
SHAPES = [(1, 1), (5, 3), (6, 8, 5, 3), (32, 64, 64, 4), (9, 17, 33, 9), (7, 2, 19, 6, 5)]


@pytest.mark.parametrize("widths", [*SHAPES, (3, 10, 8)])
def test_partial_products_are_the_tensor_librarys(widths, monkeypatch):
    weights, layers = stacked("he", widths, range(3)), range(1, len(widths))
    monkeypatch.setenv(SWITCH, "0")
    wanted = agop.linear_agop_factors(weights, layers)
    monkeypatch.setenv(SWITCH, "1")
    for asked in (layers, [1], [len(widths) - 1], [2, len(widths)]):
        found = partial_products(weights, asked)
        assert found is not None and found.keys() == {layer for layer in asked if layer < len(widths)}
        for layer, product in found.items():
            torch.testing.assert_close(product, wanted[layer], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", ["half", "mse", "huber", "cross_entropy", "logistic"])
@pytest.mark.parametrize("widths", [shape for shape in SHAPES if shape[-1] > 1])
def test_outputs_and_squares_of_gradients_are_too(widths, loss):
    weights, (x, y) = stacked("he", widths, range(3)), data(3, 21, widths[0], widths[-1])
    y = y.softmax(-1) if loss == "cross_entropy" else y.sigmoid()
    y = torch.cat([y, torch.full_like(y[..., :1], 0.3)], -1) if loss == "huber" else y
    # as they come, and features apart
    for inputs, targets in ((x, y), (x.mT.contiguous().mT, y.mT.contiguous().mT)):
        found = gradient_squares(weights, inputs, targets, loss)
        assert found is not None
        architecture = Architecture(widths)
        wanted = gradients(architecture, weights, x, y, loss_of(loss))
        _, value = gradients_and_loss(architecture, weights, x, y, loss_of(loss))
        torch.testing.assert_close(loss_of(loss).value(found.outputs, y), value, rtol=1e-13, atol=0)
        squares = torch.stack([one.square().sum((1, 2)) for one in wanted], 1)
        torch.testing.assert_close(found.squares, squares, rtol=1e-11, atol=0)


def test_small_residuals_keep_their_digits():
    """Targets that the network nearly fits: what is left is not a difference of large sums."""
    widths, (x, _) = (6, 8, 3), data(3, 40, 6, 3)
    weights = stacked("he", widths, range(3))
    matrix = weights[1] @ weights[0]
    y = x @ matrix.mT + 1e-9 * data(3, 40, 6, 3)[1]
    found = gradient_squares(weights, x, y, "half")
    wanted = gradients(Architecture(widths), weights, x, y, loss_of("half"))
    assert found is not None
    squares = torch.stack([one.square().sum((1, 2)) for one in wanted], 1)
    torch.testing.assert_close(found.squares, squares, rtol=1e-5, atol=0)


def test_networks_alone_have_the_same_bits_beside_others_of_any_size():
    widths, (x, y) = (6, 8, 5, 3), data(5, 20, 6, 3)
    weights = list(stacked("he", widths, range(5)))
    for lane, factor in ((1, 1e-120), (2, 1e120), (3, torch.nan)):
        weights[0][lane] *= factor
    architecture, request = Architecture(widths), Request(("train_loss", "gradient_norm", "weight_norm"), ())

    def found(lanes):
        prepared = measured_data(architecture, x[lanes], y[lanes], x[lanes, :0], y[lanes, :0], "half")
        return measure(architecture, tuple(one[lanes] for one in weights), prepared, request, "half").network

    together = found(slice(None))
    for lane in (0, 1, 2, 4):
        for name, value in found(slice(lane, lane + 1)).items():
            assert torch.equal(value, together[name][lane : lane + 1]) and value.isfinite().all(), (lane, name)
    assert together["gradient_norm"][3].isnan() and together["weight_norm"][3].isnan()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 511, 512, 513, 5000])
def test_sums_of_squares_have_every_number_once(count):
    numbers = torch.arange(3 * count, dtype=torch.float64).reshape(3, 1, count) % 97
    found = sums_of_squares(numbers)
    assert found is not None and torch.equal(found, numbers.square().sum((1, 2)))
    turned = sums_of_squares(numbers.expand(3, 5, count).mT)
    assert turned is not None and torch.equal(turned, 5 * found)


def test_what_the_code_does_not_know_is_left_to_the_tensor_library():
    weights, (x, y) = stacked("he", (3, 4, 8), range(2)), data(2, 5, 3, 8)
    assert gradient_squares(weights, x, y, "half") is None, "wider outputs than inputs"
    weights, (x, y) = stacked("he", (8, 4, 3), range(2)), data(2, 5, 8, 3)
    assert gradient_squares(weights, x, y, "another") is None
    assert gradient_squares(tuple(one.float() for one in weights), x, y, "half") is None
    with pytest.raises(ValueError, match="received an array"):
        partial_products((weights[0], weights[0]), [1])
