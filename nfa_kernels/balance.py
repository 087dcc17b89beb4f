"""Imbalance of neighbouring layers: D_l = W_{l+1}^T W_{l+1} - W_l W_l^T, l = 1..L-1, zero for balanced weights."""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.native.metrics import gram_gaps
from nfa_kernels.networks import Params
from nfa_kernels.scaling import in_reach, jointly_scaled


class Imbalance(NamedTuple):
    """In float64; both are exactly 0 for one layer, which has no neighbour."""

    absolute: Tensor
    """(K,) sqrt(sum_l |D_l|_F^2), in units of weight^2."""
    relative: Tensor
    """(K,) absolute over sqrt(sum_l |W_{l+1}^T W_{l+1}|_F^2 + |W_l W_l^T|_F^2); NaN where that vanishes."""


def imbalance_matrices(weights: Params) -> list[tuple[Tensor, Tensor]]:
    """(W_{l+1}^T W_{l+1}, W_l W_l^T) for l = 1..L-1, each (K, H, H); D_l is their difference."""
    doubles = [weight.to(torch.float64) for weight in weights]
    return [(torch.bmm(after.mT, after), torch.bmm(before, before.mT)) for before, after in itertools.pairwise(doubles)]


def imbalance(weights: Params) -> Imbalance:
    """Total imbalance of each stacked network. Source: Arora et al. 2018, arXiv:1802.06509, definition 1."""
    zero = weights[0].new_zeros(weights[0].shape[0], dtype=torch.float64)
    if len(weights) == 1:
        return Imbalance(zero, zero)
    gap, size = _squares(weights)
    if in_reach(size):
        return Imbalance(gap.sqrt(), gap.sqrt() / size.sqrt())
    scaled, log_scale = jointly_scaled(weights)
    gap, size = _squares(tuple(scaled))
    return Imbalance(gap.sqrt() * torch.exp(2 * log_scale), gap.sqrt() / size.sqrt())


def _squares(weights: Params) -> tuple[Tensor, Tensor]:
    """(K,) sums over layers: of |D_l|^2, and of |W_{l+1}^T W_{l+1}|^2 + |W_l W_l^T|^2."""
    doubles = [weight.to(torch.float64) for weight in weights]
    compiled = [gram_gaps(after, before.mT) for before, after in itertools.pairwise(doubles)]
    gaps = [one for one in compiled if one is not None]
    if gaps:
        gap, after, before = (torch.stack(of_layers).sum(0) for of_layers in zip(*gaps, strict=True))
        return gap, after + before
    pairs = imbalance_matrices(weights)
    gap = torch.stack([(after - before).square().sum((-2, -1)) for after, before in pairs]).sum(0)
    sizes = [one.square().sum((-2, -1)) for pair in pairs for one in pair]
    return gap, torch.stack(sizes).sum(0)


def layer_imbalance(weights: Params, layer: int) -> Tensor:
    """(K,) |D_l|_F of one layer, numbered from 1, in float64; NaN at the last layer, which has no neighbour above."""
    if layer == len(weights):
        return weights[0].new_full(weights[0].shape[:1], torch.nan, dtype=torch.float64)
    scaled, log_scale = jointly_scaled(weights[layer - 1 : layer + 1])
    ((after, before),) = imbalance_matrices(tuple(scaled))
    return torch.linalg.matrix_norm(after - before) * torch.exp(2 * log_scale)
