"""How alike two stacks of matrices are: the cosine, and correlations of their entries."""

import torch
from torch import Tensor


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """<A, B> / (|A| |B|), (K,), of matrices (K, D, D); NaN where one vanishes or is not finite.

    Raises:
        ValueError: the shapes differ, or are not stacks of matrices.
    """
    _check(left, right)
    return _cosine(left.flatten(1), right.flatten(1))


def pearson(left: Tensor, right: Tensor) -> Tensor:
    """rho(A, B): the cosine after subtracting from each matrix its mean entry, (K,).

    NaN where all entries of one matrix are equal to rounding: nothing is left to correlate.

    Raises:
        ValueError: the shapes differ, or are not stacks of matrices.
    """
    _check(left, right)
    return _correlation(left.flatten(1), right.flatten(1))


def pearson_offdiagonal(left: Tensor, right: Tensor) -> Tensor:
    """`pearson` over the off-diagonal entries alone, (K,); NaN also for 1 x 1 matrices, which have none.

    Raises:
        ValueError: the shapes differ, or are not stacks of matrices.
    """
    _check(left, right)
    if left.shape[-1] == 1:
        return torch.full_like(left[:, 0, 0], torch.nan)
    return _correlation(_off_diagonal(left), _off_diagonal(right))


def pearson_zero_diagonal(left: Tensor, right: Tensor) -> Tensor:
    """`pearson` after setting both diagonals to 0, which stay among the entries, (K,). Source: nmallinar/rfm-grokking.

    Raises:
        ValueError: the shapes differ, or are not stacks of matrices.
    """
    _check(left, right)
    on = torch.eye(left.shape[-2], left.shape[-1], dtype=torch.bool, device=left.device)
    # a diagonal that is no number is one of a lane that is none
    numbers = (left + right).diagonal(dim1=1, dim2=2).isfinite().all(-1)
    found = pearson(left.masked_fill(on, 0), right.masked_fill(on, 0))
    return torch.where(numbers, found, torch.nan)


def _off_diagonal(matrices: Tensor) -> Tensor:
    """(K, D (D - 1)) the entries of (K, D, D) that are not on the diagonal, row by row.

    Laid out in a row, the diagonal is every D + 1st entry: a mask would make a device tell how many it picks.
    """
    width = matrices.shape[-1]
    rows = matrices.flatten(1)[:, :-1].unflatten(1, (width - 1, width + 1))
    return rows[:, :, 1:].flatten(1)


def _correlation(left: Tensor, right: Tensor) -> Tensor:
    return _cosine(_centred(left), _centred(right))


def _centred(entries: Tensor) -> Tensor:
    """Minus the mean entry; NaN where only rounding would be left."""
    centred = entries - entries.mean(-1, keepdim=True)
    rounding = 8 * torch.finfo(entries.dtype).eps * entries.abs().amax(-1, keepdim=True)
    return torch.where(centred.abs().amax(-1, keepdim=True) > rounding, centred, torch.nan)


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    """Of vectors (K, E), each scaled first so that no square under- or overflows."""
    left, right = (entries / entries.abs().amax(-1, keepdim=True) for entries in (left, right))
    return (left * right).sum(-1) / (left.square().sum(-1) * right.square().sum(-1)).sqrt()


def _check(left: Tensor, right: Tensor) -> None:
    if left.ndim != 3 or left.shape != right.shape:
        raise ValueError(
            f"right: received shape {tuple(right.shape)} beside {tuple(left.shape)}, needed are equal (K, D, D)"
        )
