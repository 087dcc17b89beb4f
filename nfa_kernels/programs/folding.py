"""Factors of sums of outer products of many rows, block by block: the triangle R with R^T R = rows^T rows.

Rows are many more than columns, and LAPACK's QR of such is bound by memory. The Cholesky factor of rows^T rows is R
too, and large products find that in float64; its eigenvalues are off by a few eps of the largest. Rows of float32 have
been rounded by far more than that, and rows of float64 are taken so while the condition of rows^T rows is below 1e6,
where cosines with its powers are right to 1e-12 (see `nfa_kernels.spectra`). Any other lane goes through QR, each
decided by itself.
"""

import torch
from torch import Tensor

_WELL_CONDITIONED = 1e6
"""|R|^2 |R^-1|^2, which is the condition of R^T R or up to D^2 times as much."""
_CACHED = 1 << 16
"""Numbers of a network's rows that are taken at once: in float64 half of a small second-level cache."""
_REACH = 1e-200, 1e200
"""Sizes of squares whose squares are numbers."""


def folded(factor: Tensor | None, rows: Tensor) -> Tensor:
    """A factor of factor^T factor + rows^T rows, with at most D rows once there are more than D.

    Args:
        factor: (K, R <= D, D) float64, of the blocks before.
        rows: (K, M, D) of float32 or float64.
    Returns:
        (K, min(R + M, D), D) float64.
    """
    held, width = 0 if factor is None else factor.shape[1], rows.shape[2]
    if held + rows.shape[1] <= width:
        return _stacked(factor, rows.to(torch.float64))
    products = rows.new_zeros(len(rows), width, width, dtype=torch.float64)
    if factor is not None:
        products.baddbmm_(factor.mT, factor)
    for some in rows.split(max(1, _CACHED // width), 1):
        doubles = some.to(torch.float64)
        products.baddbmm_(doubles.mT, doubles)
    found, is_doubtful = _triangle(products, exact=rows.dtype == torch.float64)
    if bool(is_doubtful.any()):
        some = _stacked(None if factor is None else factor[is_doubtful], rows[is_doubtful].to(torch.float64))
        found[is_doubtful] = torch.linalg.qr(some, mode="r").R
    return found


def _triangle(products: Tensor, *, exact: bool) -> tuple[Tensor, Tensor]:
    """R (K, D, D) of R^T R, and in which lanes (K,) it may be worse than by QR.

    Args:
        products: (K, D, D).
        exact: whether the condition matters.
    """
    sizes = products.diagonal(dim1=1, dim2=2)
    # a unit that is never active has a row and a column of zeros, which is exact and no matter of condition
    is_dead = (sizes == 0).to(products.dtype)
    found, info = torch.linalg.cholesky_ex(products + torch.diag_embed(is_dead), upper=True)
    most = sizes.amax(1)
    is_good = (info == 0) & (most > _REACH[0]) & (most < _REACH[1])
    if exact:
        identity = torch.eye(products.shape[1], dtype=products.dtype, device=products.device)
        inverse = torch.linalg.solve_triangular(found, identity, upper=True)
        living = 1 - is_dead
        norms = found.square().sum((1, 2)) - is_dead.sum(1)
        inverses = (inverse.square().sum(2) * living).sum(1)
        is_good &= norms * inverses <= _WELL_CONDITIONED
    return found - torch.diag_embed(is_dead), ~is_good


def _stacked(factor: Tensor | None, rows: Tensor) -> Tensor:
    return rows if factor is None else torch.cat([factor, rows], 1)
