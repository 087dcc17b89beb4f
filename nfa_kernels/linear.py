"""Linear networks on their sufficient statistics: the cost of a step and of a loss is independent of N.

For f(x) = A x the squared losses depend on the data through X^T X / N and Y^T X / N alone, so a full-batch step needs
no samples. Losses near zero would cancel if they came from the moments; they come from the triangular factor of
[X Y] instead, which is a data set of D + C rows with the same losses and gradients.
Source: the normal equations; Arora et al. 2018, arXiv:1802.06509, section 4.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.networks import Params
from nfa_kernels.products import Chain, Factored, chain, layer_gradients


class Moments(NamedTuple):
    """Second moments of the data times 2c of the loss: dloss/dA = A xx - yx."""

    xx: Tensor
    """(K, D, D)."""
    yx: Tensor
    """(K, C, D)."""


LOSS_FACTORS = {"half": lambda outputs: 0.5, "sum": lambda outputs: 1.0, "mse": lambda outputs: 1 / outputs}


def moments(x: Tensor, y: Tensor, loss: str) -> Moments:
    """Moments of inputs x (K, N, D) and targets y (K, N, C) for one of the squared losses."""
    factor = 2 * LOSS_FACTORS[loss](y.shape[-1]) / x.shape[-2]
    return Moments(torch.bmm(x.mT, x) * factor, torch.bmm(y.mT, x) * factor)


def compressed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A data set of at most D + C rows on which every linear map has the same mean squared errors and gradients.

    Returns:
        x (K, N', D) and y (K, N', C) with N' = min(N, D + C).
    """
    samples, inputs = x.shape[-2:]
    if samples <= inputs + y.shape[-1]:
        return x, y
    triangle = torch.linalg.qr(torch.cat([x, y], -1), mode="r").R
    triangle = triangle * (triangle.shape[-2] / samples) ** 0.5
    return triangle[..., :inputs].contiguous(), triangle[..., inputs:].contiguous()


def moment_gradients(weights: Params, data: Moments) -> Params:
    """Gradients of the data loss with respect to every layer, in the weights' shapes."""
    products = chain(weights)
    return tuple(one.dense() for one in layer_gradients(weights, products, _end_to_end(products, data)))


def factored_gradients(weights: Params, data: Moments, scale: Tensor) -> list[Factored]:
    """`scale` (K, 1, 1) times the same, as thin factors, whose product an update need not form."""
    products = chain(weights)
    end_to_end = _end_to_end(products, data).mul_(scale)
    if not products.from_outputs:
        # the first partial product is W_1 itself, which is written over before the factors of W_2 are read
        products.partial[0] = weights[0].clone()
    return layer_gradients(weights, products, end_to_end)


def _end_to_end(products: Chain, data: Moments) -> Tensor:
    """(K, C, D) gradient with respect to the end-to-end matrix."""
    return torch.baddbmm(data.yx, products.end_to_end, data.xx, beta=-1)
