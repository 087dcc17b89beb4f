"""How alike the leading eigenspaces of two matrices are: the mean squared cosine of the angles between them.

An eigenspace of the r largest eigenvalues is one where the r-th is larger than the next; elsewhere it is undefined.
"""

import torch
from torch import Tensor

from nfa_kernels.spectra import Spectrum

_TIE = 1e-9
"""Distance of the logarithms of two eigenvalues up to which no eigenvector tells them apart."""


def gram_agop_subspace(gram: Spectrum, agop: Spectrum, r: int) -> Tensor:
    """|U^T V|_F^2 / r of the eigenvectors of the r largest eigenvalues of both, (K,)."""
    if r > gram.vectors.shape[1]:
        return torch.full_like(gram.log_values[:, 0], torch.nan)
    is_defined = _is_defined(gram, r) & _is_defined(agop, r)
    return torch.where(is_defined, _overlap(_leading(gram, r), _leading(agop, r)) / r, torch.nan)


def teacher_overlap(agop: Spectrum, teacher: Tensor, r: int) -> Tensor:
    """|V^T T|_F^2 / min(r, R) of the eigenvectors V of the r largest eigenvalues, (K,).

    Args:
        agop: spectrum of (K, D, D).
        teacher: (K, D, R) orthonormal columns; columns of 0 are none. Of another D the overlap is undefined.
        r: >= 1.
    """
    if teacher.shape[2] == 0 or teacher.shape[1] != agop.vectors.shape[1] or r > teacher.shape[1]:
        return torch.full_like(agop.log_values[:, 0], torch.nan)
    directions = (teacher.square().sum(1) > 0.5).sum(1)
    found = _overlap(_leading(agop, r), teacher) / directions.clamp(max=r)
    return torch.where(_is_defined(agop, r) & (directions > 0), found, torch.nan)


def _leading(one: Spectrum, r: int) -> Tensor:
    """(K, D, r') the eigenvectors of the r largest eigenvalues, or of as many as there are."""
    return one.vectors[:, :, :r]


def _is_defined(one: Spectrum, r: int) -> Tensor:
    """(K,) whether there are r eigenvalues that are apart from the others."""
    logs = one.log_values
    if r > logs.shape[1]:
        return torch.zeros_like(one.finite)
    has = one.finite & logs[:, r - 1].isfinite()
    return has if r == logs.shape[1] else has & (logs[:, r - 1] - logs[:, r] > _TIE)


def _overlap(left: Tensor, right: Tensor) -> Tensor:
    """|A^T B|_F^2 (K,) of (K, D, r) and (K, D, s); one column alone would be rounded by how many are in the stack."""
    if left.shape[2] == 1 or right.shape[2] == 1:
        return (left.unsqueeze(3) * right.unsqueeze(2)).sum(1).square().sum((-2, -1))
    return torch.bmm(left.mT, right).square().sum((-2, -1))
