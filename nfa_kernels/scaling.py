"""Powers of two that keep squares of matrices from under- and overflowing; dividing by one changes no digit.

A Gram matrix of weights near 1e-160 is zero, and one of weights near 1e160 infinite, though their cosines are ordinary
numbers. Matrices within 2^-200 and 2^200 are left as they are: squares of their squares are in reach.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

REACH: Final = 200
"""Powers of two on either side of one."""
SMALLEST_SQUARE: Final = 1e-200
"""Squares from this to one over it are far from under- and overflowing."""
_MOST: Final = 1000
"""The largest power by which one multiplication may scale."""


def unit_scaled(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices (K, ..) divided by a power of two per network, float64, and its logarithm (K,): 0 where within reach."""
    (scaled,), logs = jointly_scaled([matrices])
    return scaled, logs


def jointly_scaled(arrays: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Arrays (K, ..) of a stack divided by one power of two per network, float64, and its logarithm (K,)."""
    doubles = [array.to(torch.float64) for array in arrays]
    if all(are_within(array, REACH) for array in doubles):
        return doubles, doubles[0].new_zeros(len(doubles[0]))
    exponents = _exponents(torch.stack([largest_entry(array) for array in doubles]).amax(0))
    powers = torch.where(exponents.abs() > REACH, exponents, 0)
    return [_divided(array, powers) for array in doubles], powers.to(torch.float64) * math.log(2)


def layers_scaled(weights: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Layers (K, H, D) that are multiplied with each other, each over a power of two of its own, and the logs (K,).

    As they are, with logs of 0, in networks where no product of neighbours leaves the reach, whatever the others are.
    """
    doubles = [weight.to(torch.float64) for weight in weights]
    reach = REACH // len(doubles)
    if all(are_within(weight, reach) for weight in doubles):
        zero = doubles[0].new_zeros(len(doubles[0]))
        return doubles, [zero] * len(doubles)
    norms = torch.stack([torch.linalg.vector_norm(weight.flatten(1), dim=1) for weight in doubles])
    within = ((norms > 2.0**-reach) & (norms < 2.0**reach)).all(0)
    exponents = _exponents(torch.stack([largest_entry(weight) for weight in doubles]))
    powers = torch.where(within, torch.zeros_like(exponents), exponents)
    return [_divided(*pair) for pair in zip(doubles, powers, strict=True)], [*(powers.to(torch.float64) * math.log(2))]


def smallest_exact(dtype: torch.dtype) -> float:
    """Products below this have been rounded as denormal numbers are: digits are gone, and what follows from them."""
    found = torch.finfo(dtype)
    return found.tiny / found.eps


def is_rounded(array: Tensor, dtype: torch.dtype) -> Tensor:
    """(K,) whether the entries of (K, ..), computed in that dtype, have lost digits to underflow; zeros have none."""
    largest = largest_entry(array)
    return (largest > 0) & (largest < smallest_exact(dtype))


def in_reach(sizes: Tensor) -> bool:
    """Whether every size (K,), a square or the square of one, is far from under- and overflowing."""
    return _are_between(sizes, SMALLEST_SQUARE, 1 / SMALLEST_SQUARE)


def largest_entry(array: Tensor) -> Tensor:
    """(K,) the largest absolute entry of (K, ..); NaN where one is NaN."""
    return array.abs().flatten(1).amax(1)


def are_within(array: Tensor, reach: int) -> bool:
    """Whether the Frobenius norm of every network's part of (K, ..) is within 2^-reach and 2^reach.

    A norm costs half of what a largest entry does; one that under- or overflows is not within.
    """
    return _are_between(torch.linalg.vector_norm(array.flatten(1), dim=1), 2.0**-reach, 2.0**reach)


def _are_between(sizes: Tensor, low: float, high: float) -> bool:
    """Whether every size (K,) is; one question, for which a device is waited for once."""
    least, most = torch.stack(torch.aminmax(sizes)).tolist()
    return low < least and most < high


def _exponents(largest: Tensor) -> Tensor:
    """The power of two above each number; 0 for zero and for what is not finite, which nothing scales right."""
    usable = (largest > 0) & largest.isfinite()
    return torch.where(usable, torch.frexp(torch.where(usable, largest, 1.0)).exponent.clamp(-_MOST, _MOST), 0)


def _divided(array: Tensor, powers: Tensor) -> Tensor:
    """The array over 2^powers (K,)."""
    return torch.ldexp(array, -powers.view(-1, *[1] * (array.ndim - 1)))
