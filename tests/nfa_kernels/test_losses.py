"""Losses that read a number beside the targets: against torch.nn.functional, and in what is measured."""

import pytest
import torch
from builders import data, stacked
from torch.nn import functional

from nfa_kernels import names
from nfa_kernels.losses import LOSSES, loss_of, loss_targets
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture, forward

DELTAS = torch.tensor([0.25, 1.0, 1e3], dtype=torch.float64)
SMOOTHING = torch.tensor([0.0, 0.1, 0.6], dtype=torch.float64)


def _torchs(name, outputs, targets, lane):
    """torch's loss of one network, a mean over samples of sums over outputs."""
    if name == "huber":
        return functional.huber_loss(outputs, targets, reduction="sum", delta=DELTAS[lane].item()) / len(outputs)
    return functional.cross_entropy(outputs, targets, label_smoothing=SMOOTHING[lane].item())


def _case(name, samples=40, outputs=4):
    drawn, targets = data(3, samples, outputs, outputs, seed=1)
    if name == "cross_entropy":
        targets = functional.one_hot(targets.argmax(-1), outputs).double()
    return 2 * drawn, targets, {"huber_delta": DELTAS, "label_smoothing": SMOOTHING}


def test_the_registry_and_its_numbers_are_those_of_the_names():
    assert set(LOSSES) == set(names.LOSSES) and set(names.LOSS_NUMBERS) <= set(LOSSES)


@pytest.mark.parametrize("name", names.LOSS_NUMBERS)
def test_values_and_gradients_equal_torchs(name):
    outputs, targets, numbers = _case(name)
    read, loss = loss_targets(name, targets, numbers), loss_of(name)
    value, gradient = loss.value(outputs, read), loss.gradient(outputs, read)
    for lane in range(3):
        own = outputs[lane].clone().requires_grad_()
        wanted = _torchs(name, own, targets[lane], lane)
        torch.testing.assert_close(value[lane], wanted.detach(), rtol=1e-13, atol=0)
        torch.testing.assert_close(gradient[lane], torch.autograd.grad(wanted, own)[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", names.LOSS_NUMBERS)
def test_a_network_has_the_same_loss_alone_and_in_a_stack_of_other_numbers(name):
    outputs, targets, numbers = _case(name)
    value = loss_of(name).value(outputs, loss_targets(name, targets, numbers))
    for lane in range(3):
        own = {key: number[lane : lane + 1] for key, number in numbers.items()}
        read = loss_targets(name, targets[lane : lane + 1], own)
        assert torch.equal(loss_of(name).value(outputs[lane : lane + 1], read)[0], value[lane])


def test_without_smoothing_targets_are_as_they_are_bit_for_bit():
    _, targets, numbers = _case("cross_entropy")
    assert torch.equal(loss_targets("cross_entropy", targets, numbers)[0], targets[0])
    assert loss_targets("cross_entropy", targets) is targets and loss_targets("half", targets, numbers) is targets


def test_huber_is_half_where_no_residual_is_beyond_delta():
    outputs, targets, numbers = _case("huber")
    huber = loss_of("huber").value(outputs, loss_targets("huber", targets, numbers))
    torch.testing.assert_close(huber[2], loss_of("half").value(outputs, targets)[2], rtol=1e-13, atol=0)
    assert huber[0] < loss_of("half").value(outputs, targets)[0] / 3


@pytest.mark.parametrize("name", names.LOSS_NUMBERS)
@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_what_is_measured_is_the_loss_with_its_number(name, activation):
    architecture = Architecture((5, 6, 4), activation)
    weights, (x, _) = stacked("xavier", (5, 6, 4), range(3), scale=2.0), data(3, 40, 5, 4)
    _, y, numbers = _case(name)
    prepared = measured_data(architecture, x[:, :30], y[:, :30], x[:, 30:], y[:, 30:], name, loss_numbers=numbers)
    asked = ("train_loss", "test_loss", "relative_loss", "gradient_norm", "accuracy")
    found = measure(architecture, weights, prepared, Request(asked, (1,)), name).network
    outputs = forward(architecture, weights, x)
    for lane in range(3):
        train, zero = (_torchs(name, of, y[lane, :30], lane) for of in (outputs[lane, :30], 0 * outputs[lane, :30]))
        torch.testing.assert_close(found["train_loss"][lane], train, rtol=1e-12, atol=0)
        torch.testing.assert_close(found["relative_loss"][lane], train / zero, rtol=1e-12, atol=0)
        test = _torchs(name, outputs[lane, 30:], y[lane, 30:], lane)
        torch.testing.assert_close(found["test_loss"][lane], test, rtol=1e-12, atol=0)
    assert found["accuracy"].isfinite().all() == (name == "cross_entropy") and (found["gradient_norm"] > 0).all()


def test_huber_without_its_delta_is_refused():
    outputs, targets, _ = _case("huber")
    with pytest.raises(ValueError, match="huber_delta: received None"):
        loss_targets("huber", targets)
    with pytest.raises(ValueError, match="received 4 columns for 4 outputs, huber reads one more"):
        loss_of("huber").value(outputs, targets)
