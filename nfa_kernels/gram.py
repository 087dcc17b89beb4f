"""Size and spread of a layer's Gram matrix W^T W, whose eigenvalues are the squared singular values of W."""

import torch
from torch import Tensor

from nfa_kernels.spectra import all_finite, zeroed


def gram_norm(weight: Tensor) -> Tensor:
    """|W^T W|_F, (K,), in float64: 0 for a collapsed layer, NaN for one that is not finite."""
    return _squared_singular_values(weight).square().sum(-1).sqrt()


def gram_stable_rank(weight: Tensor) -> Tensor:
    """|M|_F^2 / |M|_2^2 of M = W^T W, (K,), in float64: 1..min(D, H); NaN where W vanishes or is not finite.

    Source: Rudelson and Vershynin 2007, doi:10.1145/1255443.1255449, applied to M rather than to W.
    """
    values = _squared_singular_values(weight)
    return (values / values[:, :1]).square().sum(-1)


def _squared_singular_values(weight: Tensor) -> Tensor:
    """(K, R) eigenvalues of the Gram matrix, decreasing; NaN where W is not finite."""
    weight = weight.to(torch.float64)
    finite = all_finite(weight)
    values = torch.linalg.svdvals(zeroed(weight, finite)).square()
    return torch.where(finite[:, None], values, torch.nan)
