"""Points of a Sobol sequence and of random draws in the unit cube; the first of many are those of few. Pure.

Direction numbers of S. Joe and F. Y. Kuo (new-joe-kuo-6, SIAM J. Sci. Comput. 30, 2635, 2008), in Gray code order
(I. A. Antonov and V. M. Saleev, 1979), shifted by a number of the seed's own in each dimension: every coordinate keeps
its balance, and no coordinate is 0. Written out here so that no release of a library moves a point.
"""

import hashlib
from typing import Final

import numpy as np

MOST_DIMENSIONS: Final = 32
BITS: Final = 30
_MORE_BITS: Final = 22
"""Of the shift, below those of the sequence: coordinates are multiples of 2^-52, plus half of that."""
_DIRECTIONS: Final = (
    (3, (1,)),
    (7, (1, 3)),
    (11, (1, 3, 1)),
    (13, (1, 1, 1)),
    (19, (1, 1, 3, 3)),
    (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)),
    (41, (1, 1, 5, 5, 5)),
    (47, (1, 1, 7, 11, 19)),
    (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)),
    (61, (1, 3, 5, 5, 31)),
    (67, (1, 3, 3, 9, 7, 49)),
    (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)),
    (103, (1, 1, 1, 15, 7, 5)),
    (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)),
    (131, (1, 3, 7, 11, 23, 15, 103)),
    (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)),
    (145, (1, 3, 5, 9, 1, 25, 53)),
    (157, (1, 3, 1, 13, 9, 35, 107)),
    (167, (1, 3, 1, 5, 27, 61, 31)),
    (171, (1, 1, 5, 11, 19, 41, 61)),
    (185, (1, 3, 5, 3, 3, 13, 69)),
    (191, (1, 1, 7, 13, 1, 19, 1)),
    (193, (1, 3, 7, 5, 13, 19, 59)),
    (203, (1, 1, 3, 9, 25, 29, 41)),
    (211, (1, 3, 5, 13, 23, 1, 55)),
    (213, (1, 3, 7, 3, 13, 59, 17)),
)
"""Primitive polynomial and initial direction numbers of every dimension but the first."""


def sobol(count: int, dimensions: int, seed: int) -> np.ndarray:
    """(count, dimensions) numbers in (0, 1).

    Args:
        count: points, below 2^30.
        dimensions: 1 to 32.
        seed: of the shifts.
    """
    shifts = [_hashed(seed, dimension) >> (64 - BITS - _MORE_BITS) for dimension in range(dimensions)]
    whole = unshifted(count, dimensions) << _MORE_BITS
    return ((whole ^ np.array(shifts, np.int64)) + 0.5) * 2.0 ** -(BITS + _MORE_BITS)


def unshifted(count: int, dimensions: int) -> np.ndarray:
    """(count, dimensions) the sequence itself, as whole numbers below 2^30."""
    index = np.arange(count, dtype=np.int64)
    gray, found = index ^ (index >> 1), np.zeros((count, dimensions), np.int64)
    for dimension in range(dimensions):
        for bit, direction in enumerate(_directions(dimension)):
            found[:, dimension] ^= np.where(gray >> bit & 1, direction, 0)
    return found


def _directions(dimension: int) -> list[int]:
    """The direction number of each bit of a point's index."""
    if dimension == 0:
        return [1 << (BITS - 1 - bit) for bit in range(BITS)]
    polynomial, initial = _DIRECTIONS[dimension - 1]
    degree, found = len(initial), list(initial)
    for bit in range(degree, BITS):
        new = found[bit - degree] ^ (found[bit - degree] << degree)
        for term in range(1, degree):
            if polynomial >> (degree - term) & 1:
                new ^= found[bit - term] << term
        found.append(new)
    return [number << (BITS - 1 - bit) for bit, number in enumerate(found)]


def random(count: int, dimensions: int, seed: int) -> np.ndarray:
    """(count, dimensions) independent numbers in (0, 1): 53 bits of PCG64, whose stream NumPy keeps."""
    drawn = np.random.PCG64(_hashed(seed, -1)).random_raw(count * dimensions)
    return (((drawn >> np.uint64(12)) + 0.5) * 2.0**-52).reshape(count, dimensions)


def _hashed(seed: int, dimension: int) -> int:
    """64 bits that follow from a seed and a dimension."""
    return int.from_bytes(hashlib.sha256(f"sample {seed} {dimension}".encode()).digest()[:8], "big")
