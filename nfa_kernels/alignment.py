"""Alignment of a layer's Gram matrix with powers of its AGOP, from the spectrum alone.

With q_i = |W v_i|^2 the products are <M, G^a> = sum_i g_i^a q_i and |G^a|^2 = sum_i g_i^{2a}: no D x D matrix is
formed and every further exponent costs one pass over R numbers.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.native.metrics import column_squares, gram_gaps, sums_of_squares
from nfa_kernels.scaling import in_reach, unit_scaled
from nfa_kernels.spectra import Spectrum, all_finite, zeroed


class LayerPair(NamedTuple):
    """A layer's Gram matrix M = W^T W against the spectrum of its AGOP, in float64."""

    weight: Tensor
    """(K, H, D)."""
    spectrum: Spectrum
    projections: Tensor
    """(K, R) q_i = |W v_i|^2."""
    gram_norm: Tensor
    """(K,) |M|_F; NaN for a lane without a valid pair."""
    log_scale: Tensor
    """(K,) log of what the weights were divided by, so that no square under- or overflows: `weight`, `projections` and
    `gram_norm` are of the divided ones."""


def layer_pair(weight: Tensor, agop: Spectrum) -> LayerPair:
    """Prepare a layer W (K, H, D) and its AGOP's spectrum for any number of alignments.

    Raises:
        ValueError: the D axes differ.
    """
    if weight.ndim != 3 or weight.shape[-1] != agop.vectors.shape[1]:
        raise ValueError(
            f"weight: received shape {tuple(weight.shape)}, needed is (K, H, {agop.vectors.shape[1]}) as the spectrum"
        )
    weight = weight.to(torch.float64)
    finite = agop.valid & all_finite(weight)
    weight = zeroed(weight, finite)
    norm, log_scale = _gram_norm(weight), weight.new_zeros(len(weight))
    if not in_reach(norm.square()):
        weight, log_scale = unit_scaled(weight)
        norm = _gram_norm(weight)
    projections = column_squares(weight, agop.vectors)
    if projections is None:
        projections = torch.bmm(weight, agop.vectors).square().sum(1)
    norm = torch.where(finite & (norm > 0) & norm.isfinite(), norm, torch.nan)
    return LayerPair(weight, agop, projections, norm, log_scale)


def _gram_norm(weight: Tensor) -> Tensor:
    """(K,) |W^T W|_F, through the smaller of the two Gram matrices."""
    turned = weight.mT if weight.shape[1] < weight.shape[2] else weight
    found = gram_gaps(turned)
    return torch.linalg.matrix_norm(torch.bmm(turned.mT, turned)) if found is None else found[1].sqrt()


def alignment(weight: Tensor, agop: Spectrum, exponent: float) -> Tensor:
    """Cosine between a layer's W^T W and a power of its AGOP, for each stacked network.

    Args:
        weight: (K, H, D), one layer.
        agop: spectrum of the AGOP at that layer's input.
        exponent: power of the AGOP, dimensionless, > 0.
    Returns:
        (K,), dimensionless, in [0, 1] up to rounding; NaN where either matrix vanishes or is not finite.
    Raises:
        ValueError: the D axes differ, or an exponent that is not positive and finite.
    Source: Tansley et al. 2025, arXiv:2510.15563. Departure: the power is never formed.
    """
    return pair_alignment(layer_pair(weight, agop), exponent)


def pair_alignment(pair: LayerPair, exponent: float) -> Tensor:
    """`alignment` of a prepared pair: (K,)."""
    if not 0 < exponent < float("inf"):
        raise ValueError(f"exponent: received {exponent}, allowed are finite numbers > 0")
    power = pair.spectrum.relative_power(exponent)
    return (power * pair.projections).sum(-1) / (pair.gram_norm * power.square().sum(-1).sqrt())


def scale(pair: LayerPair, exponent: float) -> Tensor:
    """Best c in M ~ c G^a: <M, G^a> / |G^a|^2, (K,)."""
    power, largest = pair.spectrum.relative_power(exponent), pair.spectrum.log_values[:, 0]
    ratio = (power * pair.projections).sum(-1) / power.square().sum(-1)
    return _defined(pair, ratio * torch.exp(2 * pair.log_scale - exponent * largest))


def residual(pair: LayerPair, exponent: float, gamma: float = 1.0) -> Tensor:
    """|M - G^a / gamma| / |M|, (K,): what the theorem states. Subtracted: expanded it cancels at 1e-8.

    gamma is 1 unless layers are multiplied by constants c_l: then it is (prod_{j >= l} c_j^2)^a.
    """
    found = gram_gaps(pair.weight, pair.spectrum.factor(exponent, -2 * pair.log_scale - math.log(gamma)))
    if found is not None:
        return _defined(pair, found[0].sqrt() / pair.gram_norm)
    gram = torch.bmm(pair.weight.mT, pair.weight)
    power = pair.spectrum.matrix(exponent, -2 * pair.log_scale)
    return _defined(pair, torch.linalg.matrix_norm(gram - power / gamma) / pair.gram_norm)


def null_floor(pair: LayerPair, exponent: float) -> Tensor:
    """Mean cosine after a random rotation of one of the two matrices: tr(M) tr(G^a) / (D |M| |G^a|), (K,), exact."""
    power = pair.spectrum.relative_power(exponent)
    squares = sums_of_squares(pair.weight)
    gram_trace = pair.weight.square().sum((-2, -1)) if squares is None else squares
    width = pair.weight.shape[-1]
    return gram_trace * power.sum(-1) / (width * pair.gram_norm * power.square().sum(-1).sqrt())


def _defined(pair: LayerPair, value: Tensor) -> Tensor:
    """NaN without a valid pair, and where the value lies beyond the largest number."""
    return torch.where(pair.gram_norm.isnan() | value.isinf(), torch.nan, value)
