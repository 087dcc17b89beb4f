"""Features at Convergence: at a stationary point of loss + lambda/2 |W|^2, W_l^T W_l = -(1/lambda) W_l^T dloss/dW_l.

The right side is FACT. It needs no ansatz and holds for any differentiable network, whatever optimiser got there; it
is not symmetric before convergence, and rounding alone where the loss is zero.
Source: arXiv:2507.05644. Its per-sample form -(1/(n lambda)) sum_i (dloss_i/dh) h_i^T is the same matrix.
"""

import torch
from torch import Tensor

from nfa_kernels.literature import gram
from nfa_kernels.scaling import unit_scaled
from nfa_kernels.similarity import cosine

ZERO_LOSS = 1e-28
"""Relative losses up to this are residuals within rounding, about 1e-14 of the targets."""


def fact(weight: Tensor, gradient: Tensor, weight_decay: Tensor) -> Tensor:
    """-(1/lambda) W^T dloss/dW, (K, D, D), of a layer W (K, H, D); NaN where lambda (K,) is 0."""
    decay = torch.where(weight_decay > 0, weight_decay, torch.nan)
    return torch.bmm(weight.mT, gradient) / -decay[:, None, None]


def fact_alignment(weight: Tensor, gradient: Tensor, weight_decay: Tensor, relative_loss: Tensor) -> Tensor:
    """cos(W^T W, FACT), (K,).

    Args:
        weight: (K, H, D), one layer.
        gradient: (K, H, D) of the data loss, without the penalty.
        weight_decay: (K,) the configured lambda, also where the rule decouples it.
        relative_loss: (K,) data loss over that of the zero function.
    Returns:
        In [-1, 1]; NaN where lambda is 0, the loss is zero to rounding, or either matrix vanishes or is not finite.
    """
    weight, gradient = unit_scaled(weight)[0], unit_scaled(gradient)[0]
    found = cosine(gram(weight), fact(weight, gradient, weight_decay))
    return torch.where(relative_loss > ZERO_LOSS, found, torch.nan)
