"""Spectra, alignment and the best exponent against theory and closed forms."""

import math

import numpy as np
import pytest
import reference
import torch
from builders import data, lane, stacked
from hypothesis import given, settings
from hypothesis import strategies as st

from nfa_kernels.agop import agop_factors, linear_agop_factors
from nfa_kernels.alignment import alignment, layer_pair, null_floor, pair_alignment, residual, scale
from nfa_kernels.best_exponent import FLAT, INTERIOR, LOWER, UPPER, best_exponent
from nfa_kernels.networks import Architecture, Params
from nfa_kernels.spectra import spectrum


def _pair(weights: Params, layer: int):
    return layer_pair(weights[layer - 1], spectrum(linear_agop_factors(weights, [layer])[layer]))


@pytest.mark.parametrize("depth", range(2, 9))
def test_exactly_balanced_networks_satisfy_the_ansatz_at_every_layer_to_rounding(depth):
    weights = stacked("balanced", [64] * depth + [4], range(5))
    for layer in range(1, depth + 1):
        pair = _pair(weights, layer)
        exponent = 1 / (depth - layer + 1)
        assert (1 - pair_alignment(pair, exponent)).abs().max() <= 1e-14
        assert residual(pair, exponent).max() <= 1e-13
        assert (scale(pair, exponent) - 1).abs().max() <= 1e-13


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_float32_weights_of_a_balanced_network_lose_no_more_than_their_rounding(depth):
    weights = tuple(weight.float() for weight in stacked("balanced", [64] * depth + [4], range(5)))
    factor = linear_agop_factors(tuple(weight.double() for weight in weights), [1])[1]
    assert (1 - alignment(weights[0], spectrum(factor), 1 / depth)).abs().max() <= 1e-6


def test_a_matrix_of_the_gram_itself_would_have_failed_where_the_thin_factor_does_not():
    weights = stacked("balanced", [64] * 8 + [4], [0])
    factor = linear_agop_factors(weights, [1])[1]
    values, vectors = torch.linalg.eigh(factor[0].T @ factor[0])
    naive = vectors * values.clamp(min=0) ** (1 / 8) @ vectors.T
    gram = weights[0][0].T @ weights[0][0]
    naive_cosine = (gram * naive).sum() / gram.norm() / naive.norm()
    assert 1 - naive_cosine > 1e-5
    assert 1 - alignment(weights[0], spectrum(factor), 1 / 8)[0] < 1e-14


@pytest.mark.parametrize("depth", range(2, 7))
def test_the_best_exponent_of_a_balanced_network_is_one_over_its_depth(depth):
    best = best_exponent(_pair(stacked("balanced", [12] * depth + [6], range(5)), 1))
    assert torch.all(best.kind == INTERIOR)
    assert (best.exponent * depth - 1).abs().max() <= 1e-12
    assert (1 - best.alignment).abs().max() <= 1e-14


def test_the_derivative_of_the_log_alignment_vanishes_at_the_best_exponent():
    pair = _pair(stacked("he", [10, 16, 16, 6], range(20)), 1)
    best = best_exponent(pair)
    inner = best.kind == INTERIOR
    assert inner.sum() >= 5
    logs = pair.spectrum.log_values
    power = torch.exp(best.exponent[:, None] * (logs - logs[:, :1]))
    mean_m = (power * pair.projections * logs).sum(-1) / (power * pair.projections).sum(-1)
    mean_g = (power**2 * logs).sum(-1) / (power**2).sum(-1)
    assert (mean_m - mean_g)[inner].abs().max() <= 1e-11


def test_no_exponent_on_a_fine_scan_beats_the_best_one():
    pair = _pair(stacked("xavier", [8, 8, 8, 8], range(30)), 1)
    best = best_exponent(pair)
    scanned = torch.stack([pair_alignment(pair, float(a)) for a in np.geomspace(1e-3, 50, 400)])
    assert (scanned.amax(0) - best.alignment).max() <= 1e-12


def _constructed(strengths, counts):
    """W_1 = W_2 = diag(sqrt s) on clusters e_j - c sum_{i != j} e_i: exact fit, exactly balanced."""
    width = len(strengths)
    offset = 0.5 / (width - 1)
    points = torch.eye(width, dtype=torch.float64) * (1 + offset) - offset
    x = torch.repeat_interleave(points, torch.tensor(counts), dim=0)[None]
    weight = torch.diag(torch.tensor(strengths, dtype=torch.float64).sqrt())[None]
    factor = agop_factors(Architecture((width, width, width), "relu"), (weight, weight), x, [1])[1]
    return layer_pair(weight, spectrum(factor))


@pytest.mark.parametrize(
    ("strengths", "counts", "value"),
    [((4, 1, 1, 1), (1, 16, 16, 16), 0.8029550686), ((4, 2, 1, 1), (1, 4, 16, 16), 0.8528028654)],
)
def test_constructed_relu_networks_read_their_closed_form_at_every_exponent(strengths, counts, value):
    pair = _constructed(strengths, counts)
    closed = sum(strengths) / math.sqrt(len(strengths)) / math.sqrt(sum(s * s for s in strengths))
    assert closed == pytest.approx(value, abs=1e-10)
    for exponent in (0.1, 0.5, 1.0, 3.0):
        assert pair_alignment(pair, exponent).item() == pytest.approx(closed, abs=1e-12)
    best = best_exponent(pair)
    assert best.kind.item() == FLAT
    assert math.isnan(best.exponent.item())
    assert best.alignment.item() == pytest.approx(closed, abs=1e-12)


def test_an_inverted_agop_has_its_supremum_at_the_lower_limit():
    best = best_exponent(_constructed((3, 1, 1, 1), (1, 27, 27, 27)))
    assert best.kind.item() == LOWER
    assert best.alignment.item() == pytest.approx(math.sqrt(0.75), abs=1e-12)
    pair = _constructed((1, 1, 1, 1), (8, 4, 2, 1))
    assert pair_alignment(pair, 0.5).item() == pytest.approx(0.935021, abs=1e-6)
    assert pair_alignment(pair, 1.0).item() == pytest.approx(0.813489, abs=1e-6)
    best = best_exponent(pair)
    assert (best.kind.item(), best.alignment.item()) == (LOWER, pytest.approx(1.0, abs=1e-12))


def test_a_gram_along_the_top_eigenvector_has_its_supremum_at_the_upper_limit():
    factor = torch.diag(torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64))[None]
    best = best_exponent(layer_pair(torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64), spectrum(factor)))
    assert best.kind.item() == UPPER
    assert best.alignment.item() == pytest.approx(1.0, abs=1e-14)


def test_the_null_floor_is_the_mean_cosine_over_random_rotations():
    pair = _pair(stacked("he", [6, 10, 6], [3]), 1)
    gram, root = pair.weight[0].T @ pair.weight[0], pair.spectrum.matrix(0.5)[0]
    generator = torch.Generator().manual_seed(0)
    cosines = []
    for _ in range(4000):
        q, r = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))
        q = q * r.diagonal().sign()
        cosines.append(float((gram * (q @ root @ q.T)).sum() / gram.norm() / root.norm()))
    # four standard errors of the sampled mean
    assert null_floor(pair, 0.5).item() == pytest.approx(
        float(np.mean(cosines)), abs=4 * float(np.std(cosines)) / 4000**0.5
    )


@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "tanh", "gelu", "quadratic"])
@pytest.mark.parametrize("block_elements", [1 << 24, 200])
def test_layer_quantities_equal_the_reference_also_when_samples_come_in_blocks(activation, block_elements):
    widths = (7, 9, 5, 3)
    weights, (x, _) = stacked("he", widths, range(4)), data(4, 30, 7, 3)
    architecture = Architecture(widths, activation)
    factors = agop_factors(architecture, weights, x, [1, 2, 3], block_elements)
    for layer in (1, 2, 3):
        pair, exponent = layer_pair(weights[layer - 1], spectrum(factors[layer])), 1 / (4 - layer)
        for index in range(4):
            wanted = reference.layer_metrics(lane(weights, index), x[index].numpy(), activation, layer)
            found = {
                "alignment": pair_alignment(pair, exponent),
                "alignment_half": pair_alignment(pair, 0.5),
                "alignment_one": pair_alignment(pair, 1.0),
                "residual": residual(pair, exponent),
                "scale": scale(pair, exponent),
                "null_floor": null_floor(pair, exponent),
                "agop_rank": pair.spectrum.rank.double(),
            }
            assert {name: value[index].item() for name, value in found.items()} == pytest.approx(wanted, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.integers(1, 12),
    hidden=st.integers(1, 12),
    outputs=st.integers(1, 6),
    decades=st.floats(0, 12),
    seed=st.integers(0, 10_000),
)
def test_any_shape_and_conditioning_gives_cosines_in_range_and_a_best_above_every_other(
    inputs, hidden, outputs, decades, seed
):
    generator = torch.Generator().manual_seed(seed)
    conditioned = torch.logspace(0, -decades, inputs, dtype=torch.float64)
    first = torch.randn(3, hidden, inputs, generator=generator, dtype=torch.float64) * conditioned
    second = torch.randn(3, outputs, hidden, generator=generator, dtype=torch.float64)
    pair = _pair((first, second), 1)
    best = best_exponent(pair)
    for exponent in (0.25, 0.5, 1.0, 2.0):
        value = pair_alignment(pair, exponent)
        assert torch.all((value >= -1e-15) & (value <= 1 + 1e-14))
        assert torch.all(value <= best.alignment + 1e-12)
    assert torch.all(null_floor(pair, 0.5) <= 1 + 1e-14)


def test_a_bad_lane_is_nan_and_leaves_its_neighbours_as_they_were():
    weights = stacked("he", [6, 8, 4], range(5))
    alone = _pair(weights, 1)
    spoiled = tuple(weight.clone() for weight in weights)
    spoiled[0][1] = torch.nan
    spoiled[1][2] = 0.0
    spoiled[0][3] = torch.inf
    pair = _pair(spoiled, 1)
    for quantity in (
        lambda p: pair_alignment(p, 0.5),
        lambda p: residual(p, 0.5),
        lambda p: null_floor(p, 0.5),
        lambda p: scale(p, 0.5),
        lambda p: best_exponent(p).alignment,
        lambda p: best_exponent(p).kind,
    ):
        found, wanted = quantity(pair), quantity(alone)
        torch.testing.assert_close(found[[0, 4]], wanted[[0, 4]], rtol=1e-13, atol=0)
        assert torch.all(found[1:4].isnan())


def test_wrong_arguments_are_refused_by_name():
    weights = stacked("he", [6, 8, 4], [0])
    agop = spectrum(linear_agop_factors(weights, [1])[1])
    with pytest.raises(ValueError, match=r"weight: received shape \(1, 4, 8\)"):
        alignment(weights[1], agop, 0.5)
    for exponent in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="exponent: received"):
            alignment(weights[0], agop, exponent)
    with pytest.raises(ValueError, match="layers: received"):
        agop_factors(Architecture((6, 8, 4)), weights, torch.zeros(1, 2, 6), [3])
