"""The largest eigenvalue of the Hessian against dense Hessians of plain modules, one network at a time."""

import math
from collections.abc import Callable
from typing import Any

import graph_reference
import pytest
import torch
from builders import data, stacked
from torch import Tensor

from nfa_kernels import cost, lanczos
from nfa_kernels.activations import ACTIVATIONS, activation
from nfa_kernels.data import make_data
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.graphs.named import layers_of
from nfa_kernels.lanczos import largest_eigenvalue
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.measuring import measure_program, program_data

SMOOTH: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "softplus": torch.nn.Softplus(threshold=1000),
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "quadratic": torch.square,
    "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, 0.1),
}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "half": lambda f, y: 0.5 * (f - y).square().sum() / len(f),
    "sum": lambda f, y: (f - y).square().sum() / len(f),
    "mse": torch.nn.functional.mse_loss,
    "cross_entropy": torch.nn.functional.cross_entropy,
    "logistic": lambda f, y: torch.nn.functional.binary_cross_entropy_with_logits(f, y, reduction="sum") / len(f),
    "huber": lambda f, y: torch.nn.functional.huber_loss(f, y, reduction="sum", delta=0.7) / len(f),
}
ONLY = Request(("sharpness",), ())


def _largest(loss: Callable[..., Tensor], arrays: list[Tensor]) -> float:
    """The largest eigenvalue of a dense Hessian in all arrays, row by row.

    By the plain tape: torch.func.hessian differs from differences of gradients where there is a layer_norm with gains
    (torch 2.13), which this does not.
    """
    leaves = [array.clone().requires_grad_() for array in arrays]
    gradient = torch.autograd.grad(loss(*leaves), leaves, create_graph=True)
    entries = torch.cat([part.flatten() for part in gradient])
    if len(arrays) < 7:  # no norms: all rows at once
        unit = torch.eye(len(entries), dtype=entries.dtype)
        parts = torch.autograd.grad(entries, leaves, unit, is_grads_batched=True, materialize_grads=True)
        return torch.linalg.eigvalsh(torch.cat([part.flatten(1) for part in parts], 1))[-1].item()
    rows = (torch.autograd.grad(one, leaves, retain_graph=True, materialize_grads=True) for one in entries)
    return torch.linalg.eigvalsh(torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]))[-1].item()


def _of_mlp(arrays: list[Tensor], x: Tensor, y: Tensor, name: str, loss: str, factors: list[float]) -> float:
    """Of one fully connected network: weights, and biases behind them."""
    depth = len(factors)

    def value(*arrays: Tensor) -> Tensor:
        h = x
        for layer in range(depth):
            h = factors[layer] * (SMOOTH[name](h) if layer else h) @ arrays[layer].T
            h = h + arrays[depth + layer].T if len(arrays) > depth else h
        return LOSSES[loss](h, y)

    return _largest(value, arrays)


def _sharpness(architecture: Architecture, params: tuple[Tensor, ...], x: Tensor, y: Tensor, loss: str) -> Tensor:
    numbers = {"huber_delta": torch.full((len(x),), 0.7)} if loss == "huber" else None
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], loss, loss_numbers=numbers)
    with torch.inference_mode():
        return measure(architecture, params, prepared, ONLY, loss).network["sharpness"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["linear", "relu", "gelu"])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_that_of_the_dense_hessian_at_every_loss(name, loss, bias):
    widths, (x, y) = (6, 9, 7, 3), data(2, 20, 6, 3)
    if loss in ("cross_entropy", "logistic"):
        y = torch.nn.functional.one_hot(y.argmax(-1), 3).double()
    weights = stacked("he", widths, range(2))
    architecture = Architecture(widths, name, bias=bias)
    params = (*weights, *(torch.full_like(weight[..., :1], 0.1) for weight in weights)) if bias else weights
    found = _sharpness(architecture, params, x, y, loss)
    wanted = [_of_mlp([a[k] for a in params], x[k], y[k], name, loss, [1.0] * 3) for k in range(2)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("name", [*ACTIVATIONS, "leaky_relu"])
def test_every_activation_has_its_second_derivative(name):
    z = torch.linspace(-4, 4, 81, dtype=torch.float64)[:-1] + 0.013
    wanted = torch.func.vmap(torch.func.grad(torch.func.grad(SMOOTH[name])))(z)
    torch.testing.assert_close(activation(name).second(z), wanted, rtol=1e-12, atol=1e-14)
    widths, (x, y) = (4, 6, 5, 2), data(1, 15, 4, 2)
    weights = stacked("he", widths, [0])
    found = _sharpness(Architecture(widths, name), weights, x, y, "half")
    wanted = _of_mlp([w[0] for w in weights], x[0], y[0], name, "half", [1.0] * 3)
    assert found.item() == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("parameterization", ["ntk", "mean_field", "mup"])
def test_it_is_of_the_raw_weights_whatever_multiplies_them(parameterization):
    widths, (x, y) = (5, 8, 3), data(1, 15, 5, 3)
    architecture, weights = Architecture(widths, "tanh", parameterization=parameterization), stacked("he", widths, [1])
    wanted = _of_mlp([w[0] for w in weights], x[0], y[0], "tanh", "half", list(architecture.multipliers))
    assert _sharpness(architecture, weights, x, y, "half").item() == pytest.approx(wanted, rel=1e-8)


KINDS: dict[str, tuple[Input, str, dict[str, Any]]] = {
    "resmlp": (Input((5,)), "resmlp", {"depth": 4, "width": 6, "norm": "layer", "activation": "gelu"}),
    "convnet": (
        Input((1, 6, 6)),
        "convnet",
        {"depth": 3, "channels": 4, "kernel": 3, "activation": "silu", "norm": "group", "bias": True},
    ),
    "convnet of maxima": (Input((1, 6, 6)), "convnet", {"depth": 2, "channels": 5, "kernel": 3, "pool": "max"}),
    "transformer": (
        Input((3,), 5),
        "transformer",
        {"depth": 1, "width": 4, "heads": 2, "mlp_width": 6, "activation": "gelu", "norm": "rms"},
    ),
}


def _graph_case(kind: str, lanes: int, samples: int = 8):
    of, network, settings = KINDS[kind]
    layers = layers_of(network, settings, of)
    program = GraphProgram(graph(layers, of, 3))
    generator = torch.Generator().manual_seed(1)
    parts = zip(*(program.initial("he", seed) for seed in range(lanes)), strict=True)
    params = tuple(torch.stack(p) + 0.1 * torch.randn(lanes, *p[0].shape, generator=generator).double() for p in parts)
    if of.vocabulary:
        x = torch.randint(of.vocabulary, (lanes, samples, *of.shape), generator=generator)
    else:
        x = torch.randn(lanes, samples, *of.shape, generator=generator).double()
    y = torch.nn.functional.one_hot(torch.arange(samples) % 3, 3).double().expand(lanes, -1, -1)
    return program, layers, params, x, y


def _sharpness_of(program: GraphProgram, params: tuple[Tensor, ...], x: Tensor, y: Tensor) -> Tensor:
    prepared = program_data(program, x, y, x[:, :0], y[:, :0], "cross_entropy")
    with torch.inference_mode():
        return measure_program(program, params, prepared, ONLY, "cross_entropy").network["sharpness"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_that_of_the_dense_hessian_for_every_kind_of_network(kind):
    program, layers, params, x, y = _graph_case(kind, 2)
    assert sum(array[0].numel() for array in params) < 500
    found = _sharpness_of(program, params, x, y)
    for k in range(2):
        module = graph_reference.reference(layers, x[k].clone(), 3, KINDS[kind][0].vocabulary)
        graph_reference.load(module, [array[k].clone() for array in params])
        names = [name for name, _ in module.named_parameters()]

        def loss(*arrays: Tensor, module=module, names=names, k=k) -> Tensor:
            outputs = torch.func.functional_call(module, dict(zip(names, arrays, strict=True)), (x[k],))
            return torch.nn.functional.cross_entropy(outputs, y[k])

        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            wanted = _largest(loss, [one.detach() for one in module.parameters()])
        assert found[k].item() == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("kind", ["mlp", *KINDS])
def test_a_network_has_the_same_bits_alone_and_in_a_stack_of_sixty_four(kind):
    """One call takes all of them: a product of a stack is one product."""
    if kind == "mlp":
        widths, (x, y) = (6, 8, 3), data(64, 12, 6, 3)
        architecture, params = Architecture(widths, "tanh"), stacked("he", widths, range(64))

        def of(index: Any) -> Tensor:
            return _sharpness(architecture, tuple(p[index] for p in params), x[index], y[index], "half")
    else:
        program, _, params, x, y = _graph_case(kind, 64, samples=5)

        def of(index: Any) -> Tensor:
            return _sharpness_of(program, tuple(p[index] for p in params), x[index], y[index])

    together = of(slice(None))
    assert together.isfinite().all() and together.unique().numel() == 64
    for k in (0, 17, 63):
        assert torch.equal(of(slice(k, k + 1)), together[k : k + 1])
    permuted = torch.tensor([3, 60, 1, 0])
    assert torch.equal(of(permuted), together[permuted])


def test_a_stack_takes_its_products_together(monkeypatch):
    """As many products for sixty-four networks as for the slowest of them."""
    calls: list[tuple[int, ...]] = []
    largest = lanczos.largest_eigenvalue

    def counted(product, start, basis):
        def one(vector):
            calls.append(tuple(vector.shape))
            return product(vector)

        return largest(one, start, basis)

    monkeypatch.setattr("nfa_kernels.curvature.largest_eigenvalue", counted)
    widths, (x, y) = (6, 8, 3), data(64, 12, 6, 3)
    _sharpness(Architecture(widths, "tanh"), stacked("he", widths, range(64)), x, y, "half")
    assert {shape[0] for shape in calls} == {64} and len(calls) <= 72


def test_samples_and_networks_taken_in_parts_give_the_numbers_of_all_at_once(monkeypatch):
    program, _, params, x, y = _graph_case("convnet", 3)
    whole = _sharpness_of(program, params, x, y)
    monkeypatch.setattr("nfa_kernels.curvature.CURVATURE_ELEMENTS", 1)
    monkeypatch.setattr(cost, "CURVATURE_ELEMENTS", 3 * program.taped(params).numbers_per_sample)
    torch.testing.assert_close(_sharpness_of(program, params, x, y), whole, rtol=1e-9, atol=0)


@pytest.mark.parametrize("length", [1, 2, 7, 40, 300])
@pytest.mark.parametrize("basis", [8, 64])
@pytest.mark.parametrize(
    "spectrum", ["spread", "negative", "degenerate", "clustered", "zero", "one", "large below", "tiny", "huge"]
)
def test_the_largest_eigenvalue_is_found_for_every_spectrum(length, basis, spectrum):
    place = torch.linspace(0, 1, length, dtype=torch.float64)
    values = {
        "spread": torch.exp(-8 * place),
        "negative": -1 - place,
        "degenerate": torch.where(place < 0.5, 2.0, -3.0).double(),
        "clustered": 1 - 1e-4 * place,
        "zero": torch.zeros_like(place),
        "one": torch.where(place == 0, 5.0, 0.0).double(),
        "large below": torch.where(place == 0, 0.5, -100 * place).double(),
        "tiny": 1e-200 * (1 - place / 2),
        "huge": 1e200 * (1 - place / 2),
    }[spectrum]
    generator = torch.Generator().manual_seed(length)
    frames, _ = torch.linalg.qr(torch.randn(2, length, length, generator=generator, dtype=torch.float64))
    matrix = frames * values @ frames.mT
    start = torch.randn(1, length, generator=generator, dtype=torch.float64).expand(2, -1)
    found = largest_eigenvalue(lambda v: torch.bmm(matrix, v.unsqueeze(-1)).squeeze(-1), start, basis)
    scale = values.abs().max().item()
    assert found.tolist() == pytest.approx([values.max().item()] * 2, rel=0, abs=1e-9 * scale)


def test_a_network_that_is_no_number_is_undefined_and_harms_no_neighbour():
    widths, (x, y) = (5, 6, 2), data(3, 10, 5, 2)
    weights = stacked("he", widths, range(3))
    good = _sharpness(Architecture(widths, "gelu"), weights, x, y, "half")
    weights[0][1, 0, 0] = torch.nan
    bad = _sharpness(Architecture(widths, "gelu"), weights, x, y, "half")
    assert bad.isnan().tolist() == [False, True, False] and torch.equal(bad[[0, 2]], good[[0, 2]])


@pytest.mark.parametrize("name", ["linear", "relu"])
@pytest.mark.parametrize("widths", [(4, 2), (5, 4, 3), (5, 6, 4, 3)])
@pytest.mark.parametrize("power", [-150, -100, -60, -20, 20, 60, 100, 150])
def test_it_is_right_or_undefined_at_every_scale(name, widths, power):
    """Of targets 0 and a homogeneous network the Hessian is itself homogeneous: exact powers say what is right."""
    (x, _), weights = data(2, 12, widths[0], widths[-1]), stacked("he", widths, range(2))
    y, scale = torch.zeros(2, 12, widths[-1], dtype=torch.float64), 2.0 ** round(power / math.log10(2))
    one = _sharpness(Architecture(widths, name), weights, x, y, "half")
    found = _sharpness(Architecture(widths, name), tuple(scale * weight for weight in weights), x, y, "half")
    degree = 2 * (len(widths) - 2)
    if abs(degree * power) < 300:
        assert (torch.isclose(found, one * scale**degree, rtol=1e-8, atol=0) | found.isnan()).all()
    else:
        assert found.isnan().all()
    if abs(degree * power) < 130 and len(widths) * abs(power) < 140:
        assert not found.isnan().any()


def test_the_data_of_a_linear_network_may_be_few_equivalent_rows():
    widths, (x, y) = (3, 5, 2), data(1, 200, 3, 2)
    weights = stacked("he", widths, [0])
    found = _sharpness(Architecture(widths), weights, x, y, "mse")
    assert found.item() == pytest.approx(
        _of_mlp([w[0] for w in weights], x[0], y[0], "linear", "mse", [1.0] * 2), rel=1e-8
    )


def test_a_layer_norm_has_the_curvature_of_differences_of_gradients():
    of = Input((5,))
    layers = layers_of("resmlp", {"depth": 3, "width": 6, "norm": "layer", "activation": "gelu"}, of)
    program = GraphProgram(graph(layers, of, 3))
    x, y = data(1, 9, 5, 3)
    arrays = [one + 0.1 for one in program.initial("he", 0)]
    params = torch.cat([one.flatten() for one in arrays])

    def gradient(row: Tensor) -> Tensor:
        pieces = row.split([one.numel() for one in arrays])
        parts = tuple(piece.reshape(1, *one.shape) for piece, one in zip(pieces, arrays, strict=True))
        return torch.cat([part.flatten() for part in program.gradients(parts, x, y, loss_of("half"))])

    steps = 1e-5 * torch.eye(len(params), dtype=torch.float64)
    matrix = torch.stack([(gradient(params + step) - gradient(params - step)) / 2e-5 for step in steps])
    prepared = program_data(program, x, y, x[:, :0], y[:, :0], "half")
    found = measure_program(program, tuple(one.unsqueeze(0) for one in arrays), prepared, ONLY, "half")
    wanted = torch.linalg.eigvalsh((matrix + matrix.mT) / 2)[-1].item()
    assert found.network["sharpness"].item() == pytest.approx(wanted, rel=1e-7)


def test_at_a_saddle_of_a_deep_network_it_is_not_the_largest_absolute_value():
    """f = w2 w1 x at w = 0 has the Hessian [[0, -c], [-c, 0]], c = mean x y: eigenvalues +-|c|."""
    x, y = data(1, 30, 1, 1)
    zero = (torch.zeros(1, 1, 1, dtype=torch.float64),) * 2
    c = (x * y).mean().abs().item()
    assert _sharpness(Architecture((1, 1, 1), "tanh"), zero, x, y, "half").item() == pytest.approx(c, rel=1e-10)


def test_gradient_descent_grows_above_two_over_the_rate_and_shrinks_below_it():
    """What the number is for, on a network of one layer whose Hessian is constant."""
    samples = make_data("linear_teacher", 0, samples=40, inputs=4, outputs=2, spectrum=(1.0,), noise=0.0)
    x, y = samples.x.unsqueeze(0), samples.y.unsqueeze(0)
    weight = stacked("he", (4, 2), [0])
    edge = 2 / _sharpness(Architecture((4, 2)), weight, x, y, "half").item()
    for rate, grows in ((0.99 * edge, False), (1.01 * edge, True)):
        w = weight[0][0].clone()
        for _ in range(2000):
            w = w - rate * ((x[0] @ w.T - y[0]).T @ x[0]) / 40
        assert (w.abs().max().item() > 1e3) == grows
