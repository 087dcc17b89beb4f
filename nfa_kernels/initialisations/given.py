"""Weights that the user brings, for instance of a network trained elsewhere."""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def given(
    widths: Sequence[int], seed: int, scale: float = 1.0, arrays: Mapping[str, object] | None = None
) -> list[Tensor]:
    """Arrays w1 .. wL, each (d_l, d_{l-1}), times scale; the seed plays no part.

    Raises:
        ValueError: an array is missing, has another shape, or is not finite.
    """
    arrays = arrays or {}
    layers = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        name = f"w{layer}"
        if name not in arrays:
            raise ValueError(f"arrays: received {sorted(arrays)}, needed is {name} of shape ({fan_out}, {fan_in})")
        weight = torch.as_tensor(arrays[name], dtype=torch.float64)
        if weight.shape != (fan_out, fan_in):
            raise ValueError(f"{name}: received shape {tuple(weight.shape)}, needed is ({fan_out}, {fan_in})")
        if not bool(weight.isfinite().all()):
            raise ValueError(f"{name}: received non-finite numbers, allowed are finite ones")
        layers.append(scale * weight)
    return layers
