"""Triangular factors of sums of outer products, R^T R = P, by Cholesky; and where QR of the rows would be better."""

import torch
from torch import Tensor

_WELL_CONDITIONED = 1e6
"""|R|^2 |R^-1|^2, which is the condition of R^T R or up to D^2 times as much."""
_REACH = 1e-200, 1e200
"""Sizes of squares whose squares are numbers."""


def triangle(products: Tensor, *, exact: bool) -> tuple[Tensor, Tensor]:
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
