"""Imbalance of neighbouring layers: D_l = W_{l+1}^T W_{l+1} - W_l W_l^T, l = 1..L-1, zero for balanced weights."""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.networks import Params


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
    gap, size = zero, zero
    for after, before in imbalance_matrices(weights):
        gap = gap + (after - before).square().sum((-2, -1))
        size = size + after.square().sum((-2, -1)) + before.square().sum((-2, -1))
    relative = gap.sqrt() / size.sqrt() if len(weights) > 1 else zero
    return Imbalance(gap.sqrt(), relative)


def layer_imbalance(weights: Params, layer: int) -> Tensor:
    """(K,) |D_l|_F of one layer, numbered from 1, in float64; NaN at the last layer, which has no neighbour above."""
    if layer == len(weights):
        return weights[0].new_full(weights[0].shape[:1], torch.nan, dtype=torch.float64)
    ((after, before),) = imbalance_matrices(weights[layer - 1 : layer + 1])
    return torch.linalg.matrix_norm(after - before)
