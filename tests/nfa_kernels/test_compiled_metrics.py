"""Parts of measurements by compiled code: what the tensor library finds, whatever the matrices are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from builders import data, stacked
from compilers import needs_compiler

from nfa_kernels import names
from nfa_kernels.agop import linear_agop_factors
from nfa_kernels.alignment import LayerPair, layer_pair
from nfa_kernels.best_exponent import FLAT, LOWER, UPPER, best_exponent
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.native.compiling import SWITCH
from nfa_kernels.native.metrics import column_squares, gram_gaps
from nfa_kernels.networks import Architecture
from nfa_kernels.spectra import spectrum

pytestmark = needs_compiler


def by_both(monkeypatch, quantity):
    """What a function finds with compiled code, and without."""
    found = []
    for native in ("1", "0"):
        monkeypatch.setenv(SWITCH, native)
        found.append(quantity())
    return found


def _pair(decades, widths, lanes):
    """The first layer of networks whose inputs are graded over so many decades."""
    weights = stacked("he", widths, range(lanes))
    first = weights[0] * torch.logspace(0, -decades, widths[0], dtype=torch.float64)
    return layer_pair(first, spectrum(linear_agop_factors((first, *weights[1:]), [1])[1]))


def _limits() -> LayerPair:
    """Gram matrices along the largest, the smallest and all of the eigenvectors, along none, and lanes that are bad."""
    diagonals = torch.tensor([[2.0, 1, 0.5], [2, 1, 0.5], [2, 1, 0.5], [1, 1, 1], [2, 1, 0], [0, 0, 0], [1, 2, 3]])
    weights = torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 1, 1], [1, 2, 3], [0, 0, 1], [1, 1, 1], [1, torch.nan, 1]])
    return layer_pair(weights.double().diag_embed(), spectrum(diagonals.double().diag_embed()))


def assert_same(ours, theirs):
    assert torch.equal(ours.kind.nan_to_num(nan=-1), theirs.kind.nan_to_num(nan=-1))
    torch.testing.assert_close(ours.exponent, theirs.exponent, rtol=1e-10, atol=0, equal_nan=True)
    torch.testing.assert_close(ours.alignment, theirs.alignment, rtol=1e-14, atol=0, equal_nan=True)


@pytest.mark.parametrize("decades", [0, 1, 6, 12])
@pytest.mark.parametrize("widths", [(1, 3, 1), (2, 4, 2), (10, 16, 16, 4), (7, 6, 9), (33, 40, 20), (64, 70, 64)])
def test_best_exponents_are_those_of_the_tensor_library(widths, decades, monkeypatch):
    pair = _pair(decades, widths, 20)
    ours, theirs = by_both(monkeypatch, lambda: best_exponent(pair))
    assert_same(ours, theirs)


def test_limits_flat_spectra_and_bad_networks_are_too(monkeypatch):
    pair = _limits()
    ours, theirs = by_both(monkeypatch, lambda: best_exponent(pair))
    assert_same(ours, theirs)
    assert ours.kind[[0, 1, 3]].tolist() == [UPPER, LOWER, FLAT]
    assert ours.alignment[4] == 0 and ours.alignment[5:].isnan().all() and ours.exponent[3:].isnan().all()


def test_a_network_has_the_same_best_exponent_alone_to_the_bit(monkeypatch):
    monkeypatch.setenv(SWITCH, "1")
    weights = stacked("he", (10, 16, 16, 4), range(9))

    def found(lanes):
        some = tuple(weight[lanes] for weight in weights)
        return best_exponent(layer_pair(some[0], spectrum(linear_agop_factors(some, [1])[1])))

    together = found(slice(None))
    for lane in range(9):
        for one, other in zip(found(slice(lane, lane + 1)), together, strict=True):
            assert torch.equal(one.nan_to_num(nan=-1), other[lane : lane + 1].nan_to_num(nan=-1))


SHAPES = [(1, 1, 1), (3, 2, 1), (1, 5, 7), (4, 4, 8), (5, 16, 33), (70, 3, 31), (64, 32, 64), (9, 40, 100)]
"""Rows of X, rows of Y, columns of both."""


def _matrices(rows, columns, seed, lies):
    """(4, rows, columns), as they come, turned, or every other one of a larger array."""
    drawn = torch.Generator().manual_seed(seed)
    if lies == "turned":
        return torch.randn(4, columns, rows, generator=drawn, dtype=torch.float64).mT
    step = 2 if lies == "apart" else 1
    return torch.randn(4 * step, rows, columns * step, generator=drawn, dtype=torch.float64)[::step, :, ::step]


def _gaps(x, y=None):
    found = gram_gaps(x, y)
    assert found is not None
    return found


def _squares(x, v):
    found = column_squares(x, v)
    assert found is not None
    return found


@pytest.mark.parametrize("lies", ["as they come", "turned", "apart"])
@pytest.mark.parametrize(("rows", "others", "columns"), SHAPES)
def test_what_is_made_of_gram_matrices_is_what_they_say(rows, others, columns, lies):
    x, y = _matrices(rows, columns, 0, lies), _matrices(others, columns, 1, lies)
    one, other = x.mT @ x, y.mT @ y
    wanted = [matrix.square().sum((-2, -1)) for matrix in (one - other, one, other)]
    for found, known in zip(_gaps(x, y), wanted, strict=True):
        torch.testing.assert_close(found, known, rtol=1e-13, atol=0)
    torch.testing.assert_close(_gaps(x)[1], wanted[1], rtol=1e-13, atol=0)
    squares = (x @ y.mT).square().sum(1)
    torch.testing.assert_close(_squares(x, y.mT), squares, rtol=1e-12, atol=0)


def test_gram_matrices_that_are_equal_differ_by_rounding_of_their_own():
    x = _matrices(40, 30, 0, "as they come")
    rotation = torch.linalg.qr(_matrices(40, 40, 1, "as they come")).Q
    gap, size, _ = _gaps(x, rotation @ x)
    assert (gap.sqrt() <= 1e-14 * size.sqrt()).all()
    assert (_gaps(x, x.clone())[0] == 0).all()


def test_a_matrix_that_is_not_finite_is_alone_in_that():
    x, y = _matrices(9, 21, 0, "as they come"), _matrices(5, 21, 1, "as they come")
    whole, squares = _gaps(x, y), _squares(x, y.mT)
    x[1, 2, 20], x[2, 8, 0] = torch.nan, torch.inf
    for found, known in zip((*_gaps(x, y)[:2], _squares(x, y.mT)[:, 0]), (*whole[:2], squares[:, 0]), strict=True):
        assert torch.equal(found[[0, 3]], known[[0, 3]]) and not found[1:3].isfinite().any()
    for found, known in zip(_gaps(x[3:], y[3:]), whole, strict=True):
        assert torch.equal(found, known[3:])


def test_stacks_that_do_not_fit_are_refused():
    x = _matrices(4, 6, 0, "as they come")
    for other in (x[:2], x[:, :, :5], x[0]):
        with pytest.raises(ValueError, match="needed are stacks that fit"):
            gram_gaps(x, other)
    with pytest.raises(ValueError, match="needed are stacks that fit"):
        column_squares(x, x)


ARCHITECTURES = [
    *(Architecture((6, 8, 5, 3), name) for name in ("linear", "relu", "tanh")),
    *(Architecture((6, 8, 5, 3), name, bias=True) for name in ("linear", "leaky_relu")),
    *(Architecture((6, 8, 5, 3), name, parameterization="mup") for name in ("linear", "relu")),
    *(Architecture((5, 2, 9, 4), "linear"), Architecture((3, 7)), Architecture((1, 4, 1), "relu")),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: f"{one.activation} {one.widths}")
@pytest.mark.parametrize("factor", [1.0, 1e-90, 1e90])
def test_whole_measurements_are_those_of_the_tensor_library(architecture, factor, monkeypatch):
    """Of four networks, of which one is not finite, and one has a layer of zeros."""
    widths = architecture.widths
    weights, (x, y) = [factor * one for one in stacked("he", widths, range(4))], data(4, 20, widths[0], widths[-1])
    weights[0][1, 0, 0], weights[-1][2] = torch.nan, 0.0
    params = (*weights, *architecture.zero_biases(tuple(weights)))
    initial = (*stacked("he", widths, range(10, 14)), *architecture.zero_biases(tuple(weights)))
    asked = tuple(name for name in names.METRICS if name not in ("sharpness", "ntk_alignment", "ntk_movement"))
    request = Request(asked, tuple(range(1, len(widths))), (0.3,))
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half")
    decay = torch.full((4,), 0.1, dtype=torch.float64)

    def found():
        return measure(architecture, params, prepared, request, "half", initial=initial, weight_decay=decay)

    ours, theirs = by_both(monkeypatch, found)
    for one, other in ((ours.network, theirs.network), *((ours.layers[n], theirs.layers[n]) for n in ours.layers)):
        for name, value in one.items():
            torch.testing.assert_close(
                value, other[name], rtol=1e-9, atol=1e-13, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
            )


_UNDEFINED = """
from nfa_kernels.native import compiling
compiling._FLAGS += ("-O0", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
import torch
from builders import data, stacked
from nfa_kernels import names
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.native import metrics, networks
from test_compiled_metrics import ARCHITECTURES
for architecture in ARCHITECTURES[::3]:
    for dtype in (torch.float64, torch.float32):
        widths = architecture.widths
        weights, (x, y) = stacked("he", widths, range(2)), data(2, 70, widths[0], widths[-1])
        params = tuple(one.to(dtype) for one in (*weights, *architecture.zero_biases(weights)))
        prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half", dtype=dtype)
        measure(architecture, params, prepared, Request(names.DEFAULT_METRICS, tuple(range(1, len(widths)))), "half")
assert all(networks.compiled(torch.float64, source) for source in ("metrics", "sweep"))
"""


def test_nothing_that_c_leaves_undefined_happens(tmp_path):
    own, tests, root = Path(__file__).parent, Path(__file__).parents[1], Path(__file__).parents[2]
    paths = os.pathsep.join(map(str, (own, tests / "programs", root)))
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": paths, SWITCH: "1"}
    # a vector that is stored where it may not lie, an index or a shift out of range: the process is ended
    done = subprocess.run([sys.executable, "-c", _UNDEFINED], env=environment, check=False)
    assert done.returncode == 0
