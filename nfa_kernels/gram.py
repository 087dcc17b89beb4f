"""Size and spread of a layer's Gram matrix W^T W, whose eigenvalues are the squared singular values of W."""

import torch
from torch import Tensor

from nfa_kernels.scaling import unit_scaled
from nfa_kernels.spectra import all_finite, zeroed


def gram_norm(weight: Tensor) -> Tensor:
    """|W^T W|_F, (K,), in float64: 0 for a collapsed layer, NaN for one that is not finite."""
    values, log_scale = _squared_singular_values(weight)
    return values.square().sum(-1).sqrt() * torch.exp(2 * log_scale)


def gram_stable_rank(weight: Tensor) -> Tensor:
    """|M|_F^2 / |M|_2^2 of M = W^T W, (K,), in float64: 1..min(D, H); NaN where W vanishes or is not finite.

    Source: Rudelson and Vershynin 2007, doi:10.1145/1255443.1255449, applied to M rather than to W.
    """
    values, _ = _squared_singular_values(weight)
    return (values / values[:, :1]).square().sum(-1)


def feature_velocity(weight: Tensor, gradient: Tensor, weight_decay: Tensor) -> Tensor:
    """|dM/dt|_F of M = W^T W along dW/dt = -(dloss/dW + lambda W), (K,), in float64; NaN where it leaves the floats.

    Args:
        weight: (K, H, D), one layer.
        gradient: (K, H, D) of the data loss.
        weight_decay: (K,) lambda.
    """
    moved, moved_scale = unit_scaled(gradient + weight_decay[:, None, None] * weight)
    weight, weight_scale = unit_scaled(weight)
    half = torch.bmm(weight.mT, moved)
    found = torch.linalg.matrix_norm(half + half.mT) * torch.exp(weight_scale + moved_scale)
    return torch.where(found.isfinite(), found, torch.nan)


def _squared_singular_values(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(K, R) eigenvalues of the scaled Gram matrix, decreasing, NaN where W is not finite; and log scale (K,)."""
    weight, log_scale = unit_scaled(weight)
    finite = all_finite(weight)
    values = torch.linalg.svdvals(zeroed(weight, finite)).square()
    return torch.where(finite[:, None], values, torch.nan), log_scale
