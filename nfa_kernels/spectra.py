"""Spectra of AGOPs from thin factors, never from the matrix itself.

G^a = V g^a V^T with g = s^2 and s, V from the singular value decomposition of a factor F, F^T F = G. Singular values
at or below max(rows, D) eps s_max are numerical zeros and are dropped as hard zeros: kept, they would enter a power
1/L as eps^(1/L) and cost 1 - cos as much as 7e-4 at L = 8.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Spectrum(NamedTuple):
    """Eigendecomposition of an AGOP on its range, in float64."""

    log_values: Tensor
    """(K, R) log of the eigenvalues g, decreasing; -inf where dropped."""
    vectors: Tensor
    """(K, D, R) orthonormal eigenvectors; those of dropped eigenvalues carry no weight."""
    valid: Tensor
    """(K,) false where the factor is not finite or zero: every metric of that lane is NaN."""

    @property
    def rank(self) -> Tensor:
        """(K,) numerical rank."""
        return self.log_values.isfinite().sum(-1)

    def power(self, exponent: float) -> Tensor:
        """(K, R) eigenvalues of G^a, zero where dropped; exponent 0 gives the projector on range(G)."""
        values = torch.exp(exponent * self.log_values)
        return torch.where(self.log_values.isfinite(), values, 0.0)

    def matrix(self, exponent: float) -> Tensor:
        """(K, D, D) G^a itself, for metrics that subtract matrices."""
        return torch.bmm(self.vectors * self.power(exponent).unsqueeze(1), self.vectors.mT)


def spectrum(factor: Tensor) -> Spectrum:
    """Spectrum of F^T F from a factor F (K, R, D); a bad lane is masked and disturbs no other.

    Raises:
        ValueError: the factor is not a stack of matrices.
    """
    if factor.ndim != 3:
        raise ValueError(f"factor: received shape {tuple(factor.shape)}, needed is (K, R, D)")
    factor = factor.to(torch.float64)
    valid = factor.isfinite().all(-1).all(-1)
    # one NaN lane fails a whole batched factorisation
    factor = torch.where(valid[:, None, None], factor, 0.0)
    if factor.shape[1] > factor.shape[2]:
        rows = factor.shape[1]
        factor = torch.linalg.qr(factor, mode="r").R
    else:
        rows = factor.shape[2]
    _, singular, transposed = torch.linalg.svd(factor, full_matrices=False)
    largest = singular[:, :1]
    kept = singular > max(rows, factor.shape[2]) * torch.finfo(torch.float64).eps * largest
    log_values = torch.where(kept, 2 * singular.log(), -torch.inf)
    return Spectrum(log_values, transposed.mT, valid & (largest[:, 0] > 0))
