"""Weights and biases that the user brings, for instance of a network trained elsewhere."""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def given(
    widths: Sequence[int], seed: int, scale: float = 1.0, arrays: Mapping[str, object] | None = None
) -> list[Tensor]:
    """Arrays w1 .. wL, each (d_l, d_{l-1}), times scale; the seed plays no part.

    Raises:
        ValueError: an array is missing, has another shape, is not finite, or is none of w1 .. wL and b1 .. bL.
    """
    arrays, depth = arrays or {}, len(widths) - 1
    known = {f"{kind}{layer}" for kind in "wb" for layer in range(1, depth + 1)}
    unread = sorted(set(arrays) - known)
    if unread:
        raise ValueError(f"arrays: received {', '.join(unread)}, which none of the network's {depth} layers reads")
    pairs = enumerate(itertools.pairwise(widths), start=1)
    return [scale * _array(arrays, f"w{layer}", (fan_out, fan_in)) for layer, (fan_in, fan_out) in pairs]


def given_biases(widths: Sequence[int], arrays: Mapping[str, object]) -> list[Tensor]:
    """Arrays b1 .. bL, each (d_l,), as (d_l, 1); zero where they are not given. No scale touches them.

    Raises:
        ValueError: some are given and others not, or one has another shape or is not finite.
    """
    if not any(name.startswith("b") for name in arrays):
        return [torch.zeros((width, 1), dtype=torch.float64) for width in widths[1:]]
    return [_array(arrays, f"b{layer}", (width,))[:, None] for layer, width in enumerate(widths[1:], start=1)]


def _array(arrays: Mapping[str, object], name: str, shape: tuple[int, ...]) -> Tensor:
    """One array in float64, checked."""
    if name not in arrays:
        raise ValueError(f"arrays: received {', '.join(sorted(arrays))}, needed is {name} of shape {shape}")
    found = torch.as_tensor(arrays[name], dtype=torch.float64)
    if tuple(found.shape) != shape:
        raise ValueError(f"{name}: received shape {tuple(found.shape)}, needed is {shape}")
    if not bool(found.isfinite().all()):
        raise ValueError(f"{name}: received non-finite numbers, allowed are finite ones")
    return found
