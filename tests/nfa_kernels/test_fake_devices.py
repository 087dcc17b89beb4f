"""Steps under torch's own fake tensors on `cuda:0`: no mix of devices, and nothing that depends on a number.

A fake tensor has no numbers, so that whatever would wait for a device raises here. What depends on them, as measuring
does, runs on the device of `tests/devices/absent_gpu.py`.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from absent_gpu import AbsentGPU
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

from nfa_kernels import flow, names
from nfa_kernels.linear import factored_gradients, moments
from nfa_kernels.losses import LOSSES, loss_of, loss_targets
from nfa_kernels.networks import Architecture, Params, forward, gradients, gradients_and_loss, thin_gradients
from nfa_kernels.optimizers import OPTIMIZERS

WIDTHS, LANES, SAMPLES = (5, 7, 6, 3), 3, 9
OPTIONS: dict[str, Any] = {"dtype": torch.float64, "device": "cuda:0"}


@pytest.fixture(autouse=True)
def faked() -> Iterator[None]:
    with AbsentGPU():  # once, so that a torch without CUDA knows its name
        pass
    with FakeTensorMode():
        yield


def _weights(architecture: Architecture) -> Params:
    shapes = zip(architecture.widths[1:], architecture.widths, strict=False)
    weights = tuple(torch.ones(LANES, *shape, **OPTIONS) for shape in shapes)
    return (*weights, *architecture.zero_biases(weights))


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(LANES, SAMPLES, 5, **OPTIONS), torch.ones(LANES, SAMPLES, 3, **OPTIONS)


def _are_there(arrays: Params) -> bool:
    return all(array.device == torch.device("cuda:0") for array in arrays)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", names.ACTIVATIONS)
def test_gradients_of_every_activation_stay_on_the_device_and_ask_nothing(activation, bias):
    architecture = Architecture(WIDTHS, activation, bias=bias)
    weights, (x, y) = _weights(architecture), _data()
    assert _are_there(gradients(architecture, weights, x, y, loss_of("half")))
    found, loss = gradients_and_loss(architecture, weights, x, y, loss_of("half"))
    assert _are_there((*found, loss, forward(architecture, weights, x)))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_and_its_gradient_stay_on_the_device(loss):
    outputs, targets = _data()[1], _data()[1]
    numbers = {name: torch.ones(LANES, **OPTIONS) for name in ("huber_delta", "label_smoothing")}
    read = loss_targets(loss, targets, numbers)
    assert _are_there((loss_of(loss).value(outputs, read), loss_of(loss).gradient(outputs, read)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_every_rule_stay_on_the_device_and_ask_nothing(name):
    architecture, rule = Architecture(WIDTHS, "tanh"), OPTIMIZERS[name]
    weights, (x, y) = _weights(architecture), _data()
    said = ("learning_rate", "weight_decay", "momentum", "beta1", "beta2", "rho", "epsilon")
    numbers = {key: torch.ones(LANES, 1, 1, **OPTIONS) for key in said}
    state = rule.init(weights)
    for _ in range(2):
        weights, state = rule.step(weights, gradients(architecture, weights, x, y, loss_of("half")), state, numbers)
    if rule.step_factored is not None:
        thin = thin_gradients(architecture, weights, x, y, loss_of("half"), numbers["learning_rate"])
        weights, state = rule.step_factored(weights, thin, state, numbers)
        of_moments = factored_gradients(weights, moments(x, y, "half"), numbers["learning_rate"])
        weights, state = rule.step_factored(weights, of_moments, state, numbers)
    assert _are_there(weights)


def test_a_step_of_gradient_flow_stays_on_the_device_and_asks_nothing():
    architecture = Architecture((5, 7, 3))
    weights, (x, y) = _weights(architecture), _data()
    shapes = tuple(tuple(array.shape[1:]) for array in weights)
    problem = flow.Problem(
        lambda params: gradients(architecture, params, x, y, loss_of("half")), shapes, torch.ones(LANES, **OPTIONS)
    )
    assert _are_there(tuple(flow.step(problem, flow.start(problem, weights), 1.0)))


def test_a_mix_of_devices_and_a_question_are_refused():
    weights, x = _weights(Architecture(WIDTHS, "relu")), _data()[0]
    with pytest.raises(RuntimeError, match="same device"):
        gradients(Architecture(WIDTHS, "relu"), weights, x, torch.ones(LANES, SAMPLES, 3), loss_of("half"))
    with pytest.raises(DataDependentOutputException):
        bool((x > 0).all())
