"""Data that all networks of a stack have in common: held once, and seen by each as its own.

Such a tensor (K, ..) has no step in memory from one network to the next. What is computed of it is computed once.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """(K, ..) of K tensors; held once where all are one and the same object."""
    if len(parts) > 1 and all(part is parts[0] for part in parts):
        return parts[0].expand(len(parts), *parts[0].shape)
    return torch.stack([*parts])


def is_shared(array: Tensor) -> bool:
    """Whether all networks have one and the same."""
    return len(array) > 1 and array.stride(0) == 0


def of_each(function: Callable[[Tensor], Tensor], array: Tensor) -> Tensor:
    """A function (K, ..) -> (K, ..) that treats each network by itself; called once where all have the same."""
    if not is_shared(array):
        return function(array)
    one = function(array[:1])
    return one.expand(len(array), *one.shape[1:])


def repeated(array: Tensor, times: int) -> Tensor:
    """(S K, ..) of (K, ..): the networks S times, one round after the other; no copy where all have the same."""
    if len(array) == 1 or is_shared(array):
        return array[:1].expand(times * len(array), *array.shape[1:])
    return array.repeat(times, *[1] * (array.ndim - 1))


def selected(array: Tensor, index: Tensor | slice) -> Tensor:
    """What some networks have; no copy where all have the same."""
    if isinstance(index, slice) or not is_shared(array):
        return array[index]
    return array[: len(index)]
