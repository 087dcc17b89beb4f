"""Accuracy of networks on targets that name a class."""

import math

import torch
from torch import Tensor

from nfa_kernels.scaling import largest_entry, smallest_exact


def names_classes(targets: Tensor) -> Tensor:
    """(K,) whether every target of (K, N, C) names a class: one-hot rows, or with one output -1 / 1 or 0 / 1."""
    ones, zeros = targets == 1, targets == 0
    if targets.shape[-1] == 1:
        return ((ones | zeros).all(1) | (ones | (targets == -1)).all(1))[:, 0]
    return ((ones | zeros).all(-1) & (ones.sum(-1) == 1)).all(-1)


def accuracy(outputs: Tensor, targets: Tensor, *, logits: bool = False, resolution: Tensor | None = None) -> Tensor:
    """Share of samples whose class has the strictly largest output, (K,): a tie is an error.

    With one output a sample is right on its side of the threshold: 0, or 1/2 for targets 0 / 1 that the outputs
    approach themselves.

    Args:
        outputs: (K, N, C).
        targets: (K, N, C).
        logits: whether the outputs are log-odds, so that the threshold is 0 also for targets 0 / 1.
        resolution: (K, N) from `tie_resolution`: outputs that are nearer to each other tell nothing.
    Returns:
        In [0, 1]; NaN where some target names no class, some output is not finite, or some sample tells nothing.
    """
    margins = _margins(outputs, targets, logits)
    defined = names_classes(targets) & outputs.isfinite().all(-1).all(-1)
    if resolution is not None:
        defined &= (margins.abs() >= resolution).all(-1)
    return torch.where(defined, (margins > 0).to(torch.float64).mean(-1), torch.nan)


def _margins(outputs: Tensor, targets: Tensor, logits: bool) -> Tensor:
    """(K, N) by how much the outputs are on the right side; 0 is a tie."""
    if targets.shape[-1] == 1:
        is_sign = (targets != 0).all(1, keepdim=True)
        threshold = torch.zeros_like(outputs[:, :1]) if logits else torch.where(is_sign, 0.0, 0.5)
        return torch.where(targets == 1, outputs - threshold, threshold - outputs)[..., 0]
    is_class = targets == 1
    others = outputs.masked_fill(is_class, -torch.inf).amax(-1)
    return outputs.masked_fill(~is_class, -torch.inf).amax(-1) - others


def tie_resolution(gains: Tensor, inputs: Tensor, degree: int, dtype: torch.dtype) -> Tensor:
    """How far apart outputs must be to tell which is larger, (K, N): 0 where no product of layers can underflow.

    A sample whose products have underflowed has outputs that tie, and they did not; those of a layer that is zero do.
    What underflows is lost to the smallest exact number at most, and layers behind it multiply the loss.

    Args:
        gains: (.., K) from `log_gain`, of everything that the outputs are a product of.
        inputs: (K, N) log of the largest number in every sample's input.
        degree: of the outputs in the weights at the most: above one where activations are powers.
        dtype: of the passes over the samples.
    """
    least = math.log(smallest_exact(dtype))
    shrunk = degree * (gains.clamp_max(0).sum(0)[:, None] + inputs.clamp_max(0))
    grown = degree * (gains.clamp_min(0).sum(0)[:, None] + inputs.clamp_min(0))
    return torch.where(shrunk.isfinite() & (shrunk < least), torch.exp(least + grown), 0.0)


def log_gain(matrices: Tensor) -> Tensor:
    """(K,) log of what a layer's matrices (K, out, in) multiply numbers by, about: a row's norm; -inf of zero."""
    largest = largest_entry(matrices)
    rows = (matrices / torch.where(largest > 0, largest, 1.0)[:, None, None]).square().sum((-2, -1))
    return largest.log() + (rows / matrices.shape[-2]).clamp_min(torch.finfo(rows.dtype).tiny).log() / 2


def without_zeros(gains: Tensor) -> Tensor:
    """Gains of layers that are added to others: one of zeros lets these through."""
    return torch.where(gains == -torch.inf, 0.0, gains)
