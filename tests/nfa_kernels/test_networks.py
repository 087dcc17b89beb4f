"""Forward, gradients, sufficient statistics and the formulas that training obeys."""

import pytest
import reference
import torch
from builders import data, lane, stacked

from nfa_kernels import names
from nfa_kernels.activations import activation
from nfa_kernels.balance import imbalance, imbalance_matrices
from nfa_kernels.linear import LOSS_FACTORS, compressed, factored_gradients, moment_gradients, moments
from nfa_kernels.losses import LOSSES, loss_of, loss_targets
from nfa_kernels.networks import (
    Architecture,
    check_stack,
    forward,
    gradients,
    gradients_and_loss,
    is_thin,
    laid_out,
    thin_gradients,
)
from nfa_kernels.optimizers import OPTIMIZERS


def _numbers(lanes: int, rate: float, decay: float) -> dict[str, torch.Tensor]:
    """The same learning rate and weight decay for every lane."""
    full = {"learning_rate": rate, "weight_decay": decay}
    return {name: torch.full((lanes, 1, 1), value, dtype=torch.float64) for name, value in full.items()}


@pytest.mark.parametrize("name", names.ACTIVATIONS)
def test_every_activation_and_derivative_equals_the_reference_and_autograd(name):
    z = torch.linspace(-4, 4, 401, dtype=torch.float64, requires_grad=True)
    phi = activation(name)
    value = phi.function(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    function, derivative = reference.ACTIVATIONS[name]
    torch.testing.assert_close(value.detach(), torch.from_numpy(function(z.detach().numpy())), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(phi.derivative(z.detach()), slope, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(slope, torch.from_numpy(derivative(z.detach().numpy())), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", names.ACTIVATIONS)
def test_derivatives_are_the_same_where_an_activation_was_written_over_its_argument(name):
    z = torch.tensor([[-torch.inf, -2.0, -0.0, 0.0, 1e-300, 3.0, torch.inf, torch.nan]], dtype=torch.float64)
    phi, left = activation(name), z.clone()
    assert torch.equal(phi.applied(left).nan_to_num(7.0), phi.function(z).nan_to_num(7.0))
    for read in (phi.derivative, lambda at: phi.backward(torch.full_like(z, 0.5), at)):
        torch.testing.assert_close(read(left), read(z), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", names.ACTIVATIONS)
def test_gradients_equal_the_reference_for_every_activation_and_loss(name, loss):
    widths = (5, 7, 6, 3)
    weights, (x, y) = stacked("xavier", widths, range(3)), data(3, 11, 5, 3)
    y = loss_targets(loss, y, {"huber_delta": torch.tensor([0.3, 1.0, 20.0])})
    found, value = gradients_and_loss(Architecture(widths, name), weights, x, y, loss_of(loss))
    for index in range(3):
        wanted_loss, wanted = reference.loss_and_gradients(
            lane(weights, index), x[index].numpy(), y[index].numpy(), name, loss
        )
        assert value[index].item() == pytest.approx(wanted_loss, rel=1e-12)
        for layer, gradient in enumerate(found):
            torch.testing.assert_close(gradient[index], torch.from_numpy(wanted[layer]), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("name", names.ACTIVATIONS)
def test_thin_factors_are_the_gradients_and_step_alike(name, decay):
    widths, (x, y) = (9, 14, 12, 3), data(3, 4, 9, 3)
    architecture, weights, loss = Architecture(widths, name), stacked("xavier", widths, range(3)), loss_of("half")
    assert is_thin(architecture, 4) and not is_thin(architecture, 20)
    assert not is_thin(Architecture(widths, name, bias=True), 4)
    x, y = laid_out(architecture, x), laid_out(architecture, y)
    rule, numbers = OPTIMIZERS["sgd"], _numbers(3, 0.1, decay)
    rate, dense = numbers["learning_rate"], gradients(architecture, weights, x, y, loss)
    thin = thin_gradients(architecture, weights, x, y, loss, rate)
    for one, other in zip(thin, dense, strict=True):
        torch.testing.assert_close(one.dense(), rate * other, rtol=1e-12, atol=1e-14)
    assert rule.step_factored is not None
    wanted = rule.step(weights, dense, (), numbers)[0]
    for one, other in zip(rule.step_factored(weights, thin, (), numbers)[0], wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("widths", [(6, 8, 8, 3), (3, 8, 8, 6), (2, 7, 5)])
def test_thin_factors_of_products_step_alike_though_weights_are_written_over(widths):
    """Also with fewer inputs than outputs, where factors of the second layer read the weights of the first."""
    weights, (x, y) = stacked("he", widths, range(3)), data(3, 20, widths[0], widths[-1])
    of_data, rule, numbers = moments(x, y, "half"), OPTIMIZERS["gd"], _numbers(3, 0.1, 0.3)
    wanted = rule.step(weights, moment_gradients(weights, of_data), (), numbers)[0]
    assert rule.step_factored is not None
    factors = factored_gradients(weights, of_data, numbers["learning_rate"])
    for one, other in zip(rule.step_factored(weights, factors, (), numbers)[0], wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", LOSS_FACTORS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_sufficient_statistics_give_the_gradients_and_losses_of_the_samples(depth, loss):
    widths = (6, *[8] * (depth - 1), 3)
    weights, (x, y) = stacked("he", widths, range(4)), data(4, 50, 6, 3)
    found, value = gradients_and_loss(Architecture(widths), weights, x, y, loss_of(loss))
    for one, other in zip(moment_gradients(weights, moments(x, y, loss)), found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
    small_x, small_y = compressed(x, y)
    assert small_x.shape[1] == 9
    torch.testing.assert_close(
        loss_of(loss).value(forward(Architecture(widths), weights, small_x), small_y), value, rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("batch", [20, 50])
def test_one_descent_step_changes_the_imbalance_by_the_known_formula(batch):
    widths, rate, decay = (6, 8, 7, 3), 0.05, 0.1
    weights, (x, y) = stacked("he", widths, range(4)), data(4, 50, 6, 3)
    found = gradients(Architecture(widths), weights, x[:, :batch], y[:, :batch], loss_of("half"))
    numbers = _numbers(4, rate, decay)
    rule = OPTIMIZERS["gd"]
    after, _ = rule.step(weights, found, rule.init(weights), numbers)
    for layer, (new, old) in enumerate(zip(imbalance_matrices(after), imbalance_matrices(weights), strict=True)):
        upper, lower = found[layer + 1], found[layer]
        wanted = (1 - rate * decay) ** 2 * (old[0] - old[1]) + rate**2 * (upper.mT @ upper - lower @ lower.mT)
        torch.testing.assert_close(new[0] - new[1], wanted, rtol=0, atol=1e-14)


def test_balanced_weights_turn_end_to_end_products_into_powers_of_the_gram_matrix():
    depth = 4
    weights = stacked("balanced", (9, 12, 5, 8, 4), range(3))
    product = weights[-1]
    for layer in range(depth, 0, -1):
        if layer < depth:
            product = product @ weights[layer - 1]
        gram = weights[layer - 1].mT @ weights[layer - 1]
        power = torch.linalg.matrix_power(gram, depth - layer + 1)
        torch.testing.assert_close(product.mT @ product, power, rtol=0, atol=1e-13)
    assert imbalance(weights).relative.max() <= 1e-14


def test_descent_follows_the_reference_over_hundreds_of_steps():
    widths, rate, decay = (5, 7, 3), 0.05, 0.02
    weights, (x, y) = stacked("he", widths, range(2)), data(2, 12, 5, 3)
    rule = OPTIMIZERS["gd"]
    for name in ("linear", "relu", "tanh"):
        now, architecture = weights, Architecture(widths, name)
        numbers = _numbers(2, rate, decay)
        for _ in range(300):
            now, _ = rule.step(now, gradients(architecture, now, x, y, loss_of("half")), rule.init(now), numbers)
        for index in range(2):
            wanted = reference.train(lane(weights, index), x[index].numpy(), y[index].numpy(), name, rate, decay, 300)
            for layer, weight in enumerate(now):
                torch.testing.assert_close(weight[index], torch.from_numpy(wanted[layer]), rtol=1e-9, atol=1e-11)


def test_weight_decay_shrinks_each_mode_of_a_two_layer_network_to_its_fixed_point():
    teacher, decay = torch.tensor([3.0, 2.0, 1.5, 1.0], dtype=torch.float64), 1.25
    weights = stacked("xavier", (4, 16, 4), range(3))
    eye = torch.eye(4, dtype=torch.float64).expand(3, 4, 4) * 2  # four samples with X^T X / n = I
    numbers = _numbers(3, 0.02, decay)
    statistics, rule = moments(eye, eye * teacher, "half"), OPTIMIZERS["gd"]
    for _ in range(4000):
        weights, _ = rule.step(weights, moment_gradients(weights, statistics), rule.init(weights), numbers)
    singular = torch.linalg.svdvals(weights[1] @ weights[0])
    wanted = (teacher - decay).clamp(min=0)
    torch.testing.assert_close(singular, wanted.expand(3, 4), rtol=0, atol=1e-3)


def test_balanced_networks_of_every_width_follow_the_same_end_to_end_path():
    x, y = data(1, 40, 6, 3)
    statistics, rule, ends = moments(x, y, "half"), OPTIMIZERS["gd"], []
    numbers = _numbers(1, 0.02, 0.0)
    for hidden in (3, 6, 40):
        weights = stacked("balanced", (6, hidden, hidden, 3), [5], scale=0.7)
        for _ in range(500):
            weights, _ = rule.step(weights, moment_gradients(weights, statistics), rule.init(weights), numbers)
        ends.append(weights[2] @ weights[1] @ weights[0])
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(ends[0], ends[2], rtol=0, atol=1e-12)


def test_a_stack_that_does_not_fit_is_refused_by_name():
    weights, (x, y) = stacked("he", (5, 7, 3), range(2)), data(2, 11, 5, 3)
    architecture = Architecture((5, 7, 3))
    check_stack(architecture, weights, x, y)
    with pytest.raises(ValueError, match="weights: received 1 arrays, needed are weights of 2 layers"):
        check_stack(architecture, weights[:1], x)
    with pytest.raises(ValueError, match=r"weights: layer 1 has shape \(2, 3, 7\)"):
        check_stack(architecture, weights[::-1], x)
    with pytest.raises(ValueError, match="they must be equal"):
        check_stack(architecture, weights, x.float())
    with pytest.raises(ValueError, match="y: received shape"):
        check_stack(architecture, weights, x, y[:, :, :2])
    with pytest.raises(ValueError, match="activation: received 'relo'"):
        Architecture((5, 3), "relo")
    with pytest.raises(ValueError, match="loss: received"):
        loss_of("hinge")


@pytest.mark.parametrize("name", names.ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_and_derivative_at_once_are_those_taken_alone_to_the_bit(name, dtype):
    z = torch.cat([torch.linspace(-30, 30, 1001, dtype=dtype), torch.tensor([0.0, 1e-300, -1e3, 1e3], dtype=dtype)])
    phi = activation(name)
    value, derivative = phi.with_derivative(z.clone())
    assert torch.equal(value, phi.function(z)) and torch.equal(derivative, phi.derivative(z))
