"""The kernels give the CPU's numbers on every device there is; `make test-gpu` runs these and says what ran."""

import pytest
import torch
from absent_gpu import AbsentGPU
from builders import data, stacked

from nfa_kernels import flow, names
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure, needs_initial
from nfa_kernels.networks import Architecture, gradients
from nfa_kernels.optimizers import OPTIMIZERS

DEVICES = ["cpu", "one that is not there", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
WIDTHS = (5, 7, 6, 3)


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "one that is not there":
        with AbsentGPU():
            yield "cuda:0"
        return
    name = torch.cuda.get_device_name(request.param) if request.param != "cpu" else "CPU"
    print(f"on {request.param}: {name}")
    yield request.param


def _moved(arrays, device):
    return tuple(array.to(device) for array in arrays)


@pytest.mark.parametrize("activation", names.ACTIVATIONS)
def test_every_metric_of_a_stack_is_the_cpus(activation, device):
    architecture, weights, (x, y) = Architecture(WIDTHS, activation), stacked("he", WIDTHS, range(3)), data(3, 9, 5, 3)
    metrics = tuple(names.METRICS)
    if device != "cpu" and not torch.cuda.is_available() and activation not in ("linear", "tanh"):
        # a thousand operations, the same for every activation
        metrics = tuple(name for name in metrics if name not in ("sharpness", "ntk_movement"))
    assert needs_initial(metrics)

    def measured(where):
        on = _moved((x, y, x[:, :0], y[:, :0]), where)
        prepared = measured_data(architecture, *on, "half")
        own, decay = _moved(weights, where), torch.full((3,), 0.1, dtype=torch.float64, device=where)
        initial = tuple(0.5 * weight for weight in own)
        return measure(
            architecture, own, prepared, Request(metrics, (1, 2, 3)), "half", initial=initial, weight_decay=decay
        )

    wanted, found = measured("cpu"), measured(device)
    for one, other in ((wanted.network, found.network), *((wanted.layers[n], found.layers[n]) for n in (1, 2, 3))):
        for name, value in one.items():
            assert other[name].device.type == torch.device(device).type
            torch.testing.assert_close(
                other[name].cpu(), value, rtol=1e-9, atol=1e-10, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps_of_every_rule_are_the_cpus(name, device):
    architecture, weights, (x, y) = Architecture(WIDTHS, "tanh"), stacked("he", WIDTHS, range(3)), data(3, 9, 5, 3)
    values = {"learning_rate": 0.01, "weight_decay": 0.1, "momentum": 0.9, "beta1": 0.9, "beta2": 0.99, "rho": 0.99}

    def trained(where):
        own, rule = _moved(weights, where), OPTIMIZERS[name]
        numbers = {
            key: torch.full((3, 1, 1), value, dtype=torch.float64, device=where)
            for key, value in (values | {"epsilon": 1e-6}).items()
        }
        state = rule.init(own)
        for _ in range(10):
            found = gradients(architecture, own, x.to(where), y.to(where), loss_of("half"))
            own, state = rule.step(own, found, state, numbers)
        return own

    for one, other in zip(trained("cpu"), trained(device), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-9, atol=1e-10)


def test_gradient_flow_is_the_cpus(device):
    architecture, weights, (x, y) = Architecture((5, 7, 3)), stacked("he", (5, 7, 3), range(3)), data(3, 9, 5, 3)

    def flowed(where):
        own, on_x, on_y = _moved(weights, where), x.to(where), y.to(where)
        problem = flow.Problem(
            lambda params: gradients(architecture, params, on_x, on_y, loss_of("half")),
            tuple(tuple(array.shape[1:]) for array in own),
            torch.full((3,), 0.1, dtype=torch.float64, device=where),
            rtol=1e-8,
        )
        now = flow.start(problem, own)
        while not flow.arrived(now, 0.05):
            now = flow.step(problem, now, 0.05)
        return flow.params_of(problem, now)

    for one, other in zip(flowed("cpu"), flowed(device), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-8, atol=1e-9)
