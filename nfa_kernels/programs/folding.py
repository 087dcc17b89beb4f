"""Factors of sums of outer products of many rows, block by block: the triangle R with R^T R = rows^T rows.

Rows are many more than columns, and LAPACK's QR of such is bound by memory. The Cholesky factor of rows^T rows is R
too, and large products find that in float64; its eigenvalues are off by a few eps of the largest. Rows of float32 have
been rounded by far more than that, and rows of float64 are taken so while the condition of rows^T rows is below 1e6,
where cosines with its powers are right to 1e-12 (see `nfa_kernels.spectra`). Any other lane goes through QR, each
decided by itself.
"""

import torch
from torch import Tensor

from nfa_kernels.triangles import triangle

_CACHED = 1 << 16
"""Numbers of a network's rows that are taken at once: in float64 half of a small second-level cache."""


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
    found, is_doubtful = triangle(products, exact=rows.dtype == torch.float64)
    if bool(is_doubtful.any()):
        some = _stacked(None if factor is None else factor[is_doubtful], rows[is_doubtful].to(torch.float64))
        found[is_doubtful] = torch.linalg.qr(some, mode="r").R
    return found


def _stacked(factor: Tensor | None, rows: Tensor) -> Tensor:
    return rows if factor is None else torch.cat([factor, rows], 1)
