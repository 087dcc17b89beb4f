"""Parts of measurements by compiled code: what the tensor library finds, whatever the matrices are."""

import pytest
import torch
from builders import stacked
from compilers import needs_compiler

from nfa_kernels.agop import linear_agop_factors
from nfa_kernels.alignment import LayerPair, layer_pair
from nfa_kernels.best_exponent import FLAT, LOWER, UPPER, best_exponent
from nfa_kernels.native.compiling import SWITCH
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
    pair = layer_pair(weights.double().diag_embed(), spectrum(diagonals.double().diag_embed()))
    return pair


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
