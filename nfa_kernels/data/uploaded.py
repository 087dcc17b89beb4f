"""Arrays that the user brings: x (N, D), or images (N, ..) whose pixels become inputs, y (N, C), x_test, y_test."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nfa_kernels.data.dataset import Data


def uploaded(seed: int, arrays: Mapping[str, object]) -> Data:
    """The arrays as they are, images flattened to (N, D); the seed plays no part.

    Raises:
        ValueError: x or y is missing, empty, not a matrix, not finite, or their rows differ.
    """
    x, y = _pair(arrays, "x", "y")
    if x.shape[0] == 0:
        raise ValueError("x: received no rows, at least one sample is needed")
    if "x_test" not in arrays:
        return Data(x, y, x[:0], y[:0])
    x_test, y_test = _pair(arrays, "x_test", "y_test")
    if (x_test.shape[1], y_test.shape[1]) != (x.shape[1], y.shape[1]):
        raise ValueError(
            f"x_test, y_test: received {x_test.shape[1]} and {y_test.shape[1]} columns, "
            f"needed are {x.shape[1]} and {y.shape[1]} as in training"
        )
    return Data(x, y, x_test, y_test)


def _pair(arrays: Mapping[str, object], x_name: str, y_name: str) -> tuple[Tensor, Tensor]:
    missing = {x_name, y_name} - set(arrays)
    if missing:
        raise ValueError(f"arrays: received {sorted(arrays)}, missing are {sorted(missing)}")
    x, y = (torch.as_tensor(arrays[name], dtype=torch.float64) for name in (x_name, y_name))
    if x.ndim > 2:
        x = x.flatten(1)
    for name, array in ((x_name, x), (y_name, y)):
        if array.ndim != 2 or not bool(array.isfinite().all()):
            raise ValueError(
                f"{name}: received shape {tuple(array.shape)}, needed is a finite matrix (samples, columns)"
            )
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"{x_name}, {y_name}: received {x.shape[0]} and {y.shape[0]} rows, they must be equal")
    return x, y
