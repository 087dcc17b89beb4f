"""Every update rule against torch.optim, with other hyper-parameters in each lane of one stack."""

import numpy as np
import pytest
import torch
from builders import data, stacked

from nfa_kernels import names
from nfa_kernels.losses import loss_of
from nfa_kernels.networks import Architecture, gradients
from nfa_kernels.optimizers import OPTIMIZERS
from nfa_kernels.optimizers.muon import newton_schulz

RATES = (0.03, 0.01, 0.002)
DECAYS = (0.0, 0.1, 0.3)
LANE_NUMBERS = {
    "rho": (0.99, 0.97, 0.95),
    "momentum": (0.9, 0.5, 0.0),
    "beta1": (0.9, 0.8, 0.5),
    "beta2": (0.999, 0.99, 0.9),
    "epsilon": (1e-8, 1e-6, 1e-4),
}


class Decoupled(torch.optim.SGD):
    """torch's SGD behind a decay of the weights themselves: SGDW as its paper has it."""

    def __init__(self, params, lr, decay, momentum):
        super().__init__(params, lr=lr, momentum=momentum)
        self.keep = 1 - lr * decay

    def step(self, closure=None):
        with torch.no_grad():
            for param in self.param_groups[0]["params"]:
                param.mul_(self.keep)
        return super().step(closure)


class ByHand(torch.optim.Optimizer):
    """Rules that torch lacks, written out for one matrix at a time in NumPy."""

    def __init__(self, params, update, numbers):
        super().__init__(params, {})
        self.update, self.numbers = update, numbers

    def step(self, closure=None):
        for param in self.param_groups[0]["params"]:
            state = self.state[param]
            weight, momentum = self.update(
                param.data.numpy(), param.grad.numpy(), state.get("m", np.zeros(param.shape)), **self.numbers
            )
            state["m"] = momentum
            param.data.copy_(torch.from_numpy(weight))


def lion(weight, gradient, m, learning_rate, weight_decay, beta1, beta2):
    update = np.sign(beta1 * m + (1 - beta1) * gradient) + weight_decay * weight
    return weight - learning_rate * update, beta2 * m + (1 - beta2) * gradient


def muon(weight, gradient, m, learning_rate, weight_decay, momentum):
    m = momentum * m + gradient
    x = gradient + momentum * m
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    spread = max(1, weight.shape[0] / weight.shape[1]) ** 0.5
    return (1 - learning_rate * weight_decay) * weight - learning_rate * spread * x, m


def signsgd(weight, gradient, m, learning_rate, weight_decay):
    return (1 - learning_rate * weight_decay) * weight - learning_rate * np.sign(gradient), m


TORCH = {
    "signsgd": lambda params, n: ByHand(params, signsgd, n),
    "gd": lambda params, n: torch.optim.SGD(params, lr=n["learning_rate"], weight_decay=n["weight_decay"]),
    "sgd": lambda params, n: torch.optim.SGD(params, lr=n["learning_rate"], weight_decay=n["weight_decay"]),
    "momentum": lambda params, n: torch.optim.SGD(
        params, lr=n["learning_rate"], weight_decay=n["weight_decay"], momentum=n["momentum"]
    ),
    "nesterov": lambda params, n: torch.optim.SGD(
        params,
        lr=n["learning_rate"],
        weight_decay=n["weight_decay"],
        momentum=n["momentum"],
        nesterov=n["momentum"] > 0,
    ),
    "rmsprop": lambda params, n: torch.optim.RMSprop(
        params, lr=n["learning_rate"], weight_decay=n["weight_decay"], alpha=n["rho"], eps=n["epsilon"]
    ),
    "adagrad": lambda params, n: torch.optim.Adagrad(
        params, lr=n["learning_rate"], weight_decay=n["weight_decay"], eps=n["epsilon"]
    ),
    "sgdw": lambda params, n: Decoupled(params, n["learning_rate"], n["weight_decay"], n["momentum"]),
    "lion": lambda params, n: ByHand(params, lion, n),
    "muon": lambda params, n: ByHand(params, muon, n),
    "adam": lambda params, n: torch.optim.Adam(
        params, lr=n["learning_rate"], weight_decay=n["weight_decay"], betas=(n["beta1"], n["beta2"]), eps=n["epsilon"]
    ),
    "adamw": lambda params, n: torch.optim.AdamW(
        params, lr=n["learning_rate"], weight_decay=n["weight_decay"], betas=(n["beta1"], n["beta2"]), eps=n["epsilon"]
    ),
}


ROUNDING = {"muon": 3.4445**5}
"""By how much a rule raises it: each of five iterations a small singular value by its first coefficient. Processors
that multiply one matrix and many by different instructions show it."""


def test_every_named_rule_exists_and_has_a_peer_here():
    assert set(OPTIMIZERS) == set(names.OPTIMIZERS) - {"gradient_flow"} == set(TORCH)


def _numbers(name):
    wanted = names.OPTIMIZERS[name].hyperparameters
    return {"learning_rate": RATES, "weight_decay": DECAYS} | {key: LANE_NUMBERS[key] for key in wanted}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_equal_torch_optim_in_every_lane(name):
    widths = (5, 7, 3)
    architecture, loss = Architecture(widths, "tanh"), loss_of("half")
    start, (x, y) = stacked("xavier", widths, range(3)), data(3, 12, 5, 3)
    numbers, rule = _numbers(name), OPTIMIZERS[name]
    tensors = {key: torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for key, values in numbers.items()}
    weights, state = start, rule.init(start)
    for _ in range(50):
        weights, state = rule.step(weights, gradients(architecture, weights, x, y, loss), state, tensors)
    for index in range(3):
        params = [torch.nn.Parameter(layer[index].clone()) for layer in start]
        peer = TORCH[name](params, {key: values[index] for key, values in numbers.items()})
        for _ in range(50):
            peer.zero_grad()
            hidden = torch.tanh(x[index] @ params[0].T)
            (0.5 * (hidden @ params[1].T - y[index]).square().sum() / 12).backward()
            peer.step()
        for mine, theirs in zip(weights, params, strict=True):
            raised = ROUNDING.get(name, 1.0)
            torch.testing.assert_close(mine[index], theirs.data, rtol=1e-12 * raised, atol=1e-13 * raised)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_rule_keeps_shape_and_dtype_and_changes_no_argument(name, dtype):
    weights = tuple(weight.to(dtype) for weight in stacked("he", (4, 6, 2), range(3)))
    found = tuple(torch.ones_like(weight) for weight in weights)
    before = [weight.clone() for weight in (*weights, *found)]
    numbers = {key: torch.tensor(values, dtype=dtype).view(-1, 1, 1) for key, values in _numbers(name).items()}
    rule = OPTIMIZERS[name]
    after, state = rule.step(weights, found, rule.init(weights), numbers)
    rule.step(after, found, state, numbers)
    assert [(a.shape, a.dtype) for a in after] == [(w.shape, w.dtype) for w in weights]
    assert all(torch.equal(now, then) for now, then in zip((*weights, *found), before, strict=True))


def test_muon_moves_along_nearly_orthogonal_matrices():
    weight = stacked("he", (6, 9), range(3))[0]
    for matrix in (weight, weight.mT, 1e-3 * weight):
        singular = torch.linalg.svdvals(newton_schulz(matrix))
        assert singular.min() > 0.6 and singular.max() < 1.3
    assert newton_schulz(torch.zeros(1, 3, 4)).abs().max() == 0
