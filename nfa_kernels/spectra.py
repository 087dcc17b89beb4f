"""Spectra of AGOPs from thin factors, not from the matrix, whose small eigenvalues rounding has made up.

G^a = V g^a V^T with g = s^2 and s, V from the singular value decomposition of a factor F, F^T F = G. Singular values
at or below max(rows, D) eps s_max (sqrt(max(rows, D)) eps s_max for factors in float32) are numerical zeros and are
dropped as hard zeros: kept, they would enter a power 1/L as eps^(1/L) and cost 1 - cos as much as 7e-4 at L = 8.

A factor with many more rows than columns costs less as the eigenvalues of F^T F, half of what QR and SVD take. They
come out within a few eps g_max, which moves a cosine with G^a by about a eps (g_max / g_min)^(1-a): 1e-12 while
g_max / g_min < 1e5. Only such lanes are taken from the matrix, each decided by itself; of factors in float32, whose
singular values are known to 6e-8 s_max, all are where compiled code sums their products in float64.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.agop_ways import is_tall
from nfa_kernels.at_once import is_cached
from nfa_kernels.native.metrics import gram_matrices, sums_of_squares, symmetric_vectors, thin_vectors
from nfa_kernels.scaling import REACH, is_rounded, unit_scaled


class Spectrum(NamedTuple):
    """Eigendecomposition of an AGOP on its range, in float64."""

    log_values: Tensor
    """(K, R) log of the eigenvalues g, decreasing; -inf where dropped."""
    vectors: Tensor
    """(K, D, R) orthonormal eigenvectors; those of dropped eigenvalues carry no weight."""
    finite: Tensor
    """(K,) false where the factor is not finite: every metric of that lane is NaN."""

    @property
    def valid(self) -> Tensor:
        """(K,) false where the AGOP is not finite or is zero, so that it has no direction."""
        return self.finite & self.log_values[:, 0].isfinite()

    @property
    def rank(self) -> Tensor:
        """(K,) numerical rank; 0 where the AGOP is zero or not finite."""
        return self.log_values.isfinite().sum(-1)

    @property
    def norm(self) -> Tensor:
        """(K,) |G|_F; NaN where not finite."""
        size = torch.exp(self.log_values[:, 0]) * self.relative_power(1.0).square().sum(-1).sqrt()
        return torch.where(self.finite, torch.where(self.valid, size, 0.0), torch.nan)

    @property
    def stable_rank(self) -> Tensor:
        """(K,) |G|_F^2 / |G|_2^2; NaN where the AGOP is zero or not finite."""
        return torch.where(self.valid, self.relative_power(1.0).square().sum(-1), torch.nan)

    def power(self, exponent: float) -> Tensor:
        """(K, R) eigenvalues of G^a, zero where dropped; exponent 0 gives the projector on range(G)."""
        return self._kept(torch.exp(exponent * self.log_values))

    def relative_power(self, exponent: float) -> Tensor:
        """(K, R) eigenvalues of G^a over the largest, so that no exponent overflows: cosines do not see the scale."""
        return self._kept(torch.exp(exponent * (self.log_values - self.log_values[:, :1])))

    def matrix(self, exponent: float, log_factor: Tensor | None = None) -> Tensor:
        """(K, D, D) G^a itself, times exp(log_factor) (K,), for metrics that subtract matrices."""
        logs = exponent * self.log_values
        values = self._kept(torch.exp(logs if log_factor is None else logs + log_factor[:, None]))
        return torch.bmm(self.vectors * values.unsqueeze(1), self.vectors.mT)

    def factor(self, exponent: float, log_factor: Tensor) -> Tensor:
        """(K, R, D) F with F^T F = G^a times exp(log_factor) (K,)."""
        roots = self._kept(torch.exp((exponent * self.log_values + log_factor[:, None]) / 2))
        return (self.vectors * roots.unsqueeze(1)).mT

    def relative_matrix(self, exponent: float) -> Tensor:
        """(K, D, D) G^a over its largest eigenvalue, for metrics that do not see the scale."""
        return torch.bmm(self.vectors * self.relative_power(exponent).unsqueeze(1), self.vectors.mT)

    def without(self, lanes: Tensor) -> "Spectrum":
        """The same with the lanes of a mask (K,) as those whose factor is not finite."""
        logs = self.log_values.masked_fill(lanes[:, None], -torch.inf)
        return Spectrum(logs, self.vectors, self.finite & ~lanes)

    def singular_value(self, index: int) -> Tensor:
        """(K,) square root of the index-th largest eigenvalue, from 1; 0 beyond the rank, NaN beyond D."""
        if index > self.vectors.shape[1]:
            return torch.full_like(self.log_values[:, 0], torch.nan)
        beyond = index > self.log_values.shape[1]
        values = torch.zeros_like(self.log_values[:, 0]) if beyond else self.power(0.5)[:, index - 1]
        return torch.where(self.finite, values, torch.nan)

    def _kept(self, values: Tensor) -> Tensor:
        return torch.where(self.log_values.isfinite(), values, 0.0)


def all_finite(matrices: Tensor) -> Tensor:
    """(K,) whether every number of (K, H, D) is finite: 0 times it is 0."""
    squares = sums_of_squares(matrices)
    if squares is not None and bool(squares.isfinite().all()):
        return torch.ones_like(squares, dtype=torch.bool)
    return (matrices * 0).sum((-2, -1)) == 0


def zeroed(matrices: Tensor, kept: Tensor) -> Tensor:
    """(K, H, D) with zeros in the lanes that are not kept; the argument itself where all are.

    A device is not asked whether all are: waiting for it costs more than a copy.
    """
    if is_cached(matrices) and bool(kept.all()):
        return matrices
    return torch.where(kept[:, None, None], matrices, 0.0)


def joined(parts: Sequence[Spectrum]) -> Spectrum:
    """The spectra of the lanes of all parts; every part has as many eigenvalues."""
    return Spectrum(*(torch.cat(of_parts) for of_parts in zip(*parts, strict=True)))


_WELL_CONDITIONED = 1e5
"""g_max / g_min up to which eigenvalues of F^T F are as good as a factor's for every metric."""
_SMALLEST = 1e-290
"""Products of numbers whose squares are smaller underflow."""


def spectrum(
    factor: Tensor, rows: int | None = None, rank: int | None = None, log_scale: Tensor | None = None
) -> Spectrum:
    """Spectrum of F^T F from a factor F; a bad lane is masked and disturbs no other.

    Args:
        factor: (K, R, D).
        rows: how many rows the factor had before they were folded into these; sets what counts as zero.
        rank: a bound on the rank known beforehand, such as the smallest width of a product of matrices: what lies
            beyond it is rounding, whatever its size.
        log_scale: (K,) log of a number that every entry of the factor is to be multiplied by.
    Raises:
        ValueError: the factor is not a stack of matrices, or is empty.
    """
    if factor.ndim != 3 or 0 in factor.shape:
        raise ValueError(f"factor: received shape {tuple(factor.shape)}, needed is (K, R, D), none of them 0")
    negligible = _negligible(factor.dtype, max(rows or 0, *factor.shape[1:]))
    matrices = gram_matrices(factor) if log_scale is None and _is_tall(factor, rank) else None
    if matrices is None:
        return _scaled_first(_of_scaled, factor, negligible, rank, log_scale)
    return _of_products(
        matrices, factor.dtype, negligible, lambda lanes: _scaled_first(_from_factor, factor[lanes], negligible, rank)
    )


def _is_tall(factor: Tensor, rank: int | None) -> bool:
    return is_tall(*factor.shape[1:], rank)


def gram_spectrum(
    matrix: Tensor,
    dtype: torch.dtype,
    rows: int,
    rank: int,
    factor: Callable[[Tensor], Tensor],
    size: Tensor | None = None,
) -> Spectrum:
    """Spectrum of F^T F (K, D, D) in float64 of factors F for which `is_tall` holds, as `spectrum` finds it.

    Args:
        matrix: products of numbers in `dtype`, summed in float64.
        dtype: of F.
        rows: of F.
        rank: as of `spectrum`.
        factor: F (L, .., D) of lanes of a mask (K,), of those alone whose eigenvalues the matrix does not tell.
        size: (K,) a few eps of which the matrix is off by, where that is not its largest eigenvalue.
    """
    negligible = _negligible(dtype, max(rows, matrix.shape[1]))
    return _of_products(
        matrix, dtype, negligible, lambda lanes: _scaled_first(_from_factor, factor(lanes), negligible, rank), size
    )


def _of_products(
    matrix: Tensor,
    dtype: torch.dtype,
    negligible: float,
    better: Callable[[Tensor], Spectrum],
    size: Tensor | None = None,
) -> Spectrum:
    """`_of_matrix` of squares that may be anything: a lane beyond reach is scaled, and its neighbours do not notice."""
    squares = matrix.diagonal(dim1=1, dim2=2).sum(-1)
    within = (squares > 2.0 ** (-2 * REACH)) & (squares < 2.0 ** (2 * REACH))
    # what rounding in float32 has done to the factor is far more than what products in float64 lose of its squares
    return _of_matrix(matrix, within, negligible**2 if dtype == torch.float32 else None, better, size)


def _scaled_first(
    way: Callable[[Tensor, float, int | None], Spectrum],
    factor: Tensor,
    negligible: float,
    rank: int | None,
    log_scale: Tensor | None = None,
) -> Spectrum:
    """The spectrum of factors of any size, by a way for those whose squares are within reach."""
    factor = factor.to(torch.float64)
    scaled, logs = unit_scaled(factor)
    if scaled is factor and log_scale is None:
        return way(factor, negligible, rank)
    found = way(scaled, negligible, rank).without(is_rounded(factor, torch.float64))
    logs = logs if log_scale is None else logs + log_scale
    return found._replace(log_values=found.log_values + 2 * logs[:, None])


def _of_scaled(factor: Tensor, negligible: float, rank: int | None) -> Spectrum:
    """The spectrum of factors whose squares are within reach."""
    if not _is_tall(factor, rank):
        return _from_factor(factor, negligible, rank)
    matrix = torch.bmm(factor.mT, factor)
    within = torch.ones(len(factor), dtype=torch.bool, device=factor.device)
    return _of_matrix(matrix, within, None, lambda lanes: _from_factor(factor[lanes], negligible, rank))


def _of_matrix(
    matrix: Tensor,
    within: Tensor,
    least: float | None,
    better: Callable[[Tensor], Spectrum],
    size: Tensor | None = None,
) -> Spectrum:
    """The spectrum of F^T F (K, D, D), and a better one of lanes (K,) that are not within reach or ill-conditioned.

    Where there is a least share of the largest eigenvalue up to which others are rounding, condition is no matter.
    """
    finite = all_finite(matrix)
    values, vectors = _eigenvectors(zeroed(matrix, finite))
    if least is None:
        found = Spectrum(values.log(), vectors, finite)
        size = values[:, 0] if size is None else size
        doubtful = ~within | (values[:, -1] <= torch.clamp_min(size / _WELL_CONDITIONED, _SMALLEST))
    else:
        found = Spectrum(torch.where(values > least * values[:, :1], values.log(), -torch.inf), vectors, finite)
        doubtful = ~within
    if bool(doubtful.any()):
        for kept, of_doubtful in zip(found, better(doubtful), strict=True):
            kept[doubtful] = of_doubtful
    return found


def _eigenvectors(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (K, D), decreasing, and eigenvectors (K, D, D) of finite symmetric matrices."""
    found = symmetric_vectors(matrices)
    if found is None:
        values, vectors = torch.linalg.eigh(matrices)
        return values.flip(-1), vectors.flip(-1)
    return found


def _negligible(dtype: torch.dtype, size: int) -> float:
    """Share of the largest singular value up to which one of a factor with that many rows or columns is rounding.

    In float32 size * eps would drop singular values that are there; rounding adds up like sqrt(size) (Weyl's bound on a
    random perturbation).
    """
    eps = torch.finfo(dtype).eps
    return size * eps if dtype == torch.float64 else size**0.5 * eps


def _from_factor(factor: Tensor, negligible: float, rank: int | None) -> Spectrum:
    """By singular values, those above a share of the largest: QR, then SVD."""
    finite = all_finite(factor)
    # one NaN lane fails a whole batched factorisation
    factor = zeroed(factor, finite)
    if factor.shape[1] > factor.shape[2]:
        factor = torch.linalg.qr(factor, mode="r").R
    singular, vectors = _right_vectors(factor)
    kept = singular > negligible * singular[:, :1]
    if rank is not None:
        kept[:, rank:] = False
    return Spectrum(torch.where(kept, 2 * singular.log(), -torch.inf), vectors, finite)


def _right_vectors(factor: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values (K, R) and right singular vectors (K, D, R) of finite (K, R, D), R <= D."""
    found = thin_vectors(factor)
    if found is not None:
        return found
    _, singular, transposed = torch.linalg.svd(factor, full_matrices=False)
    return singular, transposed.mT
