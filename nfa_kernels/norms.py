"""Norms of all arrays of a network together, right however large or small they are."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nfa_kernels.native.metrics import sums_of_squares
from nfa_kernels.scaling import SMALLEST_SQUARE, jointly_scaled


def norm(arrays: Sequence[Tensor]) -> Tensor:
    """(K,) root of the sum of all squares of arrays (K, H, D)."""
    return root_or(_sum_of_squares(arrays), lambda: _scaled_norm(arrays))


def _scaled_norm(arrays: Sequence[Tensor]) -> Tensor:
    scaled, log_scale = jointly_scaled(arrays)
    return _sum_of_squares(scaled).sqrt() * torch.exp(log_scale)


def root_or(squares: Tensor, otherwise: Callable[[], Tensor]) -> Tensor:
    """Roots of squares (K,) that are in reach, and of the others what else is found.

    Each lane by itself, so that its bits are the same beside others.
    """
    within = (squares > SMALLEST_SQUARE) & (squares < 1 / SMALLEST_SQUARE)
    return squares.sqrt() if bool(within.all()) else torch.where(within, squares.sqrt(), otherwise())


def _sum_of_squares(arrays: Sequence[Tensor]) -> Tensor:
    found = [sums_of_squares(array) for array in arrays]
    return torch.stack(
        [array.square().sum((-2, -1)) if one is None else one for array, one in zip(arrays, found, strict=True)]
    ).sum(0)
