"""Tangent kernels against the Jacobians of torch.func, one network at a time."""

from typing import Any

import graph_reference
import pytest
import torch
from builders import data, stacked
from torch import Tensor

from nfa_kernels import cost
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.graphs.named import layers_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.measuring import measure_program, program_data
from nfa_kernels.tangent_kernel import fully_connected_kernel, kernel_of
from nfa_kernels.taped import taped

ONLY = Request(("ntk_alignment", "ntk_movement"), ())
FUNCTIONS: dict[str, Any] = {
    "linear": lambda z: z,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "quadratic": torch.square,
}


def _theta(outputs: Any, arrays: list[Tensor]) -> Tensor:
    """J J^T of one network by torch.func; outputs (n, C) in rows (sample, output)."""
    found = torch.func.jacrev(outputs, argnums=tuple(range(len(arrays))))(*arrays)
    jacobian = torch.cat([part.flatten(2).flatten(0, 1) for part in found], 1)
    return jacobian @ jacobian.T


def _wanted(theta: Tensor, initial: Tensor, y: Tensor) -> list[float]:
    row = y.flatten()
    alignment = row @ theta @ row / (torch.linalg.norm(theta) * row @ row)
    return [alignment.item(), (torch.linalg.norm(theta - initial) / torch.linalg.norm(initial)).item()]


def _mlp(architecture: Architecture, arrays: list[Tensor], x: Tensor) -> Any:
    def outputs(*arrays: Tensor) -> Tensor:
        h = x
        for layer, c in enumerate(architecture.multipliers):
            h = c * (FUNCTIONS[architecture.activation](h) if layer else h) @ arrays[layer].T
            h = h + arrays[architecture.depth + layer].T if architecture.bias else h
        return h

    return outputs


def _measured(architecture: Architecture, params: Any, initial: Any, x: Tensor, y: Tensor, loss: str = "half"):
    numbers = {"huber_delta": torch.full((len(x),), 0.7)} if loss == "huber" else None
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], loss, loss_numbers=numbers)
    with torch.inference_mode():
        found = measure(architecture, params, prepared, ONLY, loss, initial=initial)
    return torch.stack([found.network[name] for name in ONLY.metrics], 1)


@pytest.mark.parametrize("widths", [(5, 3), (1, 6, 1), (5, 7, 6, 3)])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("bias", "scaled"), [(False, "standard"), (True, "standard"), (True, "mean_field")])
def test_both_metrics_are_those_of_jacobians_of_torch_func(widths, name, bias, scaled):
    architecture = Architecture(widths, name, bias=bias, parameterization=scaled)
    (x, y), first, last = data(2, 14, widths[0], widths[-1]), *(stacked("he", widths, at) for at in ([0, 1], [7, 8]))
    if bias:
        first, last = ((*w, *(torch.full_like(one[..., :1], b) for one in w)) for w, b in ((first, 0.0), (last, 0.3)))
    found = _measured(architecture, last, first, x, y)
    for k in range(2):
        thetas = [_theta(_mlp(architecture, [], x[k]), [array[k] for array in params]) for params in (last, first)]
        assert found[k].tolist() == pytest.approx(_wanted(*thetas, y[k]), rel=1e-10)


@pytest.mark.parametrize("loss", ["huber", "mse"])
def test_targets_are_read_as_they_were_given(loss):
    widths, (x, y) = (5, 6, 2), data(1, 9, 5, 2)
    first, last = stacked("he", widths, [0]), stacked("he", widths, [3])
    wanted = _measured(Architecture(widths, "tanh"), last, first, x, y)
    assert torch.equal(_measured(Architecture(widths, "tanh"), last, first, x, y, loss), wanted)


KINDS: dict[str, tuple[Input, str, dict[str, Any]]] = {
    "mlp": (Input((5,)), "mlp", {"depth": 3, "width": (6, 7), "activation": "tanh"}),
    "resmlp": (Input((5,)), "resmlp", {"depth": 4, "width": 6, "norm": "rms", "activation": "gelu", "bias": True}),
    "convnet": (Input((1, 6, 6)), "convnet", {"depth": 3, "channels": 4, "kernel": 3, "norm": "group"}),
    "transformer": (
        Input((3,), 5),
        "transformer",
        {"depth": 1, "width": 4, "heads": 2, "mlp_width": 6, "norm": "layer"},
    ),
}


def _graph_case(kind: str, lanes: int, samples: int = 7):
    of, network, settings = KINDS[kind]
    if network == "mlp":
        layers: list[Any] = [{"linear": 6}, "tanh", {"linear": 7}, "tanh", {"linear": {}}]
    else:
        layers = layers_of(network, settings, of)
    program = GraphProgram(graph(layers, of, 3))
    generator = torch.Generator().manual_seed(1)
    parts = zip(*(program.initial("he", seed) for seed in range(lanes)), strict=True)
    first = tuple(torch.stack(part) for part in parts)
    last = tuple(p + 0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in first)
    if of.vocabulary:
        x = torch.randint(of.vocabulary, (lanes, samples, *of.shape), generator=generator)
    else:
        x = torch.randn(lanes, samples, *of.shape, generator=generator, dtype=torch.float64)
    y = torch.nn.functional.one_hot(torch.arange(samples) % 3, 3).double().expand(lanes, -1, -1)
    return program, layers, first, last, x, y


def _of_graph(program: GraphProgram, first: Any, last: Any, x: Tensor, y: Tensor) -> Tensor:
    prepared = program_data(program, x, y, x[:, :0], y[:, :0], "cross_entropy")
    with torch.inference_mode():
        found = measure_program(program, last, prepared, ONLY, "cross_entropy", initial=first)
    return torch.stack([found.network[name] for name in ONLY.metrics], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_has_those_of_plain_modules(kind):
    program, layers, first, last, x, y = _graph_case(kind, 2)
    found = _of_graph(program, first, last, x, y)
    for k in range(2):
        module = graph_reference.reference(layers, x[k].clone(), 3, KINDS[kind][0].vocabulary)
        thetas = []
        for params in (last, first):
            graph_reference.load(module, [array[k].clone() for array in params])
            # one sample at a time, by the plain tape
            rows = []
            for sample in x[k]:
                for one in module(sample.unsqueeze(0))[0]:
                    parts = torch.autograd.grad(one, list(module.parameters()), retain_graph=True)
                    rows.append(torch.cat([part.flatten() for part in parts]))
            thetas.append(torch.stack(rows) @ torch.stack(rows).T)
        assert found[k].tolist() == pytest.approx(_wanted(*thetas, y[k]), rel=1e-10)


@pytest.mark.parametrize("kind", ["fully connected", *KINDS])
def test_a_network_has_the_same_bits_alone_and_in_a_stack(kind):
    if kind == "fully connected":
        widths, (x, y) = (6, 8, 1), data(40, 12, 6, 1)
        first, last = stacked("he", widths, range(40)), stacked("he", widths, range(50, 90))

        def of(index: Any) -> Tensor:
            now, before = (tuple(array[index] for array in params) for params in (last, first))
            return _measured(Architecture(widths, "gelu"), now, before, x[index], y[index])
    else:
        program, _, first, last, x, y = _graph_case(kind, 40, samples=4)

        def of(index: Any) -> Tensor:
            before, now = (tuple(array[index] for array in params) for params in (first, last))
            return _of_graph(program, before, now, x[index], y[index])

    together = of(slice(None))
    assert together.isfinite().all() and together[:, 0].unique().numel() == 40
    for k in (0, 17, 39):
        assert torch.equal(of(slice(k, k + 1)), together[k : k + 1])


def test_jacobians_that_do_not_fit_are_taken_in_parts(monkeypatch):
    program, _, first, last, x, y = _graph_case("convnet", 2)
    whole = _of_graph(program, first, last, x, y)
    monkeypatch.setattr(cost, "KERNEL_ELEMENTS", 3 * 3 * program.taped(last).parameters)
    monkeypatch.setattr("nfa_kernels.tangent_kernel.KERNEL_ELEMENTS", 1)
    torch.testing.assert_close(_of_graph(program, first, last, x, y), whole, rtol=1e-12, atol=0)


def test_sums_over_layers_are_products_of_jacobians_and_networks_are_taken_in_parts(monkeypatch):
    widths, (x, _) = (5, 7, 6, 3), data(3, 9, 5, 3)
    architecture, params = Architecture(widths, "silu"), stacked("he", widths, range(3))
    whole, plain = fully_connected_kernel(architecture, params, x), kernel_of(taped(architecture, params), x)
    monkeypatch.setattr("nfa_kernels.tangent_kernel.CURVATURE_ELEMENTS", 1)
    parts = fully_connected_kernel(architecture, params, x)
    assert torch.equal(parts.values, whole.values) and torch.equal(parts.powers, whole.powers)
    one, other = (torch.ldexp(k.values, 2 * k.powers[:, None, None]) for k in (whole, plain))
    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_kernels_are_of_the_first_samples_themselves_whatever_the_passes_read(name):
    """A linear network is measured on a few equivalent rows, and on many samples a kernel is of the first alone."""
    widths, (x, y) = (4, 5, 2), data(1, 300, 4, 2)
    first, last = stacked("he", widths, [0]), stacked("he", widths, [1])
    assert cost.kernel_samples(300, 2) == 256
    found = _measured(Architecture(widths, name), last, first, x, y)
    again = _measured(Architecture(widths, name), last, first, x[:, :256], y[:, :256])
    assert torch.equal(found, again)


def test_nothing_has_moved_at_step_zero_and_nothing_aligns_with_targets_of_zero():
    widths, (x, y) = (5, 6, 2), data(1, 9, 5, 2)
    weights = stacked("he", widths, [0])
    assert _measured(Architecture(widths, "tanh"), weights, weights, x, y)[0, 1] == 0
    found = _measured(Architecture(widths, "tanh"), weights, weights, x, 0 * y)
    assert found.isnan().tolist() == [[True, False]]
    zero = tuple(0 * weight for weight in weights)
    assert _measured(Architecture(widths, "linear"), zero, zero, x, y).isnan().all()


def test_a_network_that_is_no_number_is_undefined_and_harms_no_neighbour():
    widths, (x, y) = (5, 6, 2), data(3, 9, 5, 2)
    first, last = stacked("he", widths, range(3)), stacked("he", widths, range(5, 8))
    good = _measured(Architecture(widths, "relu"), last, first, x, y)
    last[0][1, 0, 0] = torch.nan
    bad = _measured(Architecture(widths, "relu"), last, first, x, y)
    assert bad.isnan().all(1).tolist() == [False, True, False] and torch.equal(bad[[0, 2]], good[[0, 2]])


def test_data_prepared_without_samples_for_kernels_are_refused():
    widths, (x, y) = (5, 6, 2), data(1, 9, 5, 2)
    architecture, weights = Architecture(widths, "relu"), stacked("he", widths, [0])
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half", kernels=False)
    assert prepared.first_x.numel() == 0
    with pytest.raises(ValueError, match="needed is kernels=True"):
        measure(architecture, weights, prepared, ONLY, "half", initial=weights)
