"""Accuracy of networks on targets that name a class."""

import torch
from torch import Tensor


def names_classes(targets: Tensor) -> Tensor:
    """(K,) whether every target of (K, N, C) names a class: one-hot rows, or with one output -1 / 1 or 0 / 1."""
    ones, zeros = targets == 1, targets == 0
    if targets.shape[-1] == 1:
        return ((ones | zeros).all(1) | (ones | (targets == -1)).all(1))[:, 0]
    return ((ones | zeros).all(-1) & (ones.sum(-1) == 1)).all(-1)


def accuracy(outputs: Tensor, targets: Tensor, *, logits: bool = False) -> Tensor:
    """Share of samples whose class has the strictly largest output, (K,): a tie is an error.

    With one output a sample is right on its side of the threshold: 0, or 1/2 for targets 0 / 1 that the outputs
    approach themselves.

    Args:
        outputs: (K, N, C).
        targets: (K, N, C).
        logits: whether the outputs are log-odds, so that the threshold is 0 also for targets 0 / 1.
    Returns:
        In [0, 1]; NaN where some target names no class or some output is not finite.
    """
    if targets.shape[-1] == 1:
        is_sign = (targets != 0).all(1, keepdim=True)
        threshold = torch.zeros_like(outputs[:, :1]) if logits else torch.where(is_sign, 0.0, 0.5)
        right = torch.where(targets == 1, outputs > threshold, outputs < threshold)[..., 0]
    else:
        is_class = targets == 1
        others = outputs.masked_fill(is_class, -torch.inf).amax(-1)
        right = outputs.masked_fill(~is_class, -torch.inf).amax(-1) > others
    defined = names_classes(targets) & outputs.isfinite().all(-1).all(-1)
    return torch.where(defined, right.to(torch.float64).mean(-1), torch.nan)
