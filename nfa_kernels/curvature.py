"""Sharpness: the algebraically largest eigenvalue of the Hessian of the data loss, for a whole stack at once.

By Lanczos on products of the Hessian with vectors, H v = d/dtheta <gradient, v>, exact to rounding: no matrix is
formed, and all networks of a stack take a product together. Gradient descent with step size lr is stable along a
direction of curvature below 2 / lr; on the full batch the sharpness rises to there and hovers.
Source: Cohen et al. 2021, arXiv:2103.00065; the product is Pearlmutter 1994, doi:10.1162/neco.1994.6.1.147.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nfa_kernels.at_once import lanes_in_block
from nfa_kernels.cost import (
    BASIS_ELEMENTS,
    CURVATURE_ELEMENTS,
    TAPED_BYTES,
    basis_vectors,
    samples_curved_at_once,
)
from nfa_kernels.lanczos import largest_eigenvalue
from nfa_kernels.losses import Loss
from nfa_kernels.random_streams import normal, stream
from nfa_kernels.taped import SAFE, Taped, fresh, log_span

_LEAST = math.exp(-SAFE)
"""The sharpness that is told where products of the layers' sizes are further from one than that."""


def sharpness(taped: Taped, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """(K,) the largest eigenvalue of the Hessian of the data loss in all parameters; NaN where digits may be lost.

    Args:
        taped: the stack.
        x: (K, N, ..) inputs, float64.
        y: (K, N, ..) targets as the loss reads them.
        loss: value and output gradient.
    """
    size = samples_curved_at_once(x.shape[1], taped.numbers_per_sample)
    basis = basis_vectors(taped.parameters)
    lanes = min(
        lanes_in_block(x, TAPED_BYTES * size * taped.numbers_per_sample, TAPED_BYTES * CURVATURE_ELEMENTS),
        lanes_in_block(x, 8 * min(basis, taped.parameters) * taped.parameters, 32 * BASIS_ELEMENTS),
    )
    row = normal((1, taped.parameters), stream("lanczos", 0)).to(x.device)
    found = []
    with torch.inference_mode(False), torch.enable_grad():
        for some, part in taped.parts(lanes):
            product = _product(part, fresh(x[some]), fresh(y[some]), loss, size)
            with torch.no_grad():
                start = row.expand(len(part.params[0]), -1)
                found.append(largest_eigenvalue(product, start, basis))
    return _told(torch.cat(found), taped, x)


def _product(taped: Taped, x: Tensor, y: Tensor, loss: Loss, size: int) -> Callable[[Tensor], Tensor]:
    """H v of a few networks; the tape of the gradient is kept where all samples are on it at once."""
    leaves = tuple(fresh(array).requires_grad_() for array in taped.params)
    samples = x.shape[1]

    def gradient(some: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            outputs = taped.outputs(leaves, some)
            of_outputs = loss.gradient(outputs, targets) * (some.shape[1] / samples)
            return torch.autograd.grad(outputs, leaves, of_outputs, create_graph=True)

    def of_gradient(found: tuple[Tensor, ...], vector: Tensor, *, is_kept: bool) -> Tensor:
        pieces = vector.split([array[0].numel() for array in leaves], 1)
        along = [piece.unflatten(1, array.shape[1:]) for piece, array in zip(pieces, leaves, strict=True)]
        images = torch.autograd.grad(found, leaves, along, retain_graph=is_kept, materialize_grads=True)
        return torch.cat([image.flatten(1) for image in images], 1)

    blocks = [*zip(x.split(size, 1), y.split(size, 1), strict=True)]
    if len(blocks) == 1:
        kept = gradient(x, y)
        return lambda vector: of_gradient(kept, vector, is_kept=True)

    def summed(vector: Tensor) -> Tensor:
        total = torch.zeros_like(vector)
        for some, targets in blocks:
            total += of_gradient(gradient(some, targets), vector, is_kept=False)
        return total

    return summed


def _told(found: Tensor, taped: Taped, x: Tensor) -> Tensor:
    """Without what may have been rounded on its way: products of layers so small or large that digits are lost."""
    span = log_span((*taped.params, x))
    right = (span < SAFE) | ((span < 2 * SAFE) & (found.abs() >= _LEAST))
    return torch.where(right & found.isfinite(), found, torch.nan)
