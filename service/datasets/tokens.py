"""Inputs that may be tokens: whole numbers from 0, which a vocabulary must be above. Pure."""

from collections.abc import Mapping
from typing import Final

import numpy as np

_BLOCK_ROWS: Final = 100_000


def token_count(arrays: Mapping[str, np.ndarray]) -> int | None:
    """One more than the largest token of x and x_test; None where x is no table (n, t) of whole numbers from 0."""
    most = -1
    for role in ("x", "x_test"):
        array = arrays.get(role)
        if array is None and role == "x_test":
            continue
        if array is None or array.ndim != 2 or not array.size:
            return None
        for start in range(0, len(array), _BLOCK_ROWS):
            block = array[start : start + _BLOCK_ROWS]
            if block.min() < 0 or (block != np.floor(block)).any():
                return None
            most = max(most, int(block.max()))
    return most + 1
