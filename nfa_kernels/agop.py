"""Thin factors of the AGOP: F with F^T F = G_l, the average gradient outer product at a layer's input.

G_l = mean_i J_l(x_i)^T J_l(x_i), J_l(x) = df/dh_{l-1} (C, D), summed over outputs, not divided by C. The matrix G_l
itself is never formed: its null eigenvalues would come out at eps times the largest one and enter a power 1/L as
eps^(1/L). The Jacobians stacked over samples and outputs, over sqrt(N), are such a factor; blocks of samples are
folded into it by QR, so memory is bounded whatever N and C are.
Source: Radhakrishnan et al. 2024, doi:10.1126/science.adi5639. Departure: factored, not summed.
"""

import torch
from torch import Tensor

from nfa_kernels.networks import Architecture, Params

BLOCK_ELEMENTS = 1 << 24
"""Numbers in the largest array of one block of Jacobians, unless the caller says otherwise (128 MiB in float64)."""


def linear_agop_factors(weights: Params, layers: list[int]) -> dict[int, Tensor]:
    """F_l = W_L .. W_l (K, C, D) of a linear network, for each asked layer: exact, and independent of the data."""
    factors, back = {}, weights[-1]
    for layer in range(len(weights), 0, -1):
        if layer < len(weights):
            back = torch.bmm(back, weights[layer - 1])
        if layer in layers:
            factors[layer] = back
    return factors


def agop_factors(
    architecture: Architecture, weights: Params, x: Tensor, layers: list[int], block_elements: int = BLOCK_ELEMENTS
) -> dict[int, Tensor]:
    """A factor F_l (K, R, D) with F_l^T F_l = G_l for each asked layer, R <= max(D, rows of a block).

    Args:
        architecture: shared by the stack.
        weights: (K, H, D) per layer.
        x: (K, N, D) inputs over which the outer products are averaged.
        layers: numbers from 1.
        block_elements: bound on the numbers in one block's Jacobians.
    Raises:
        ValueError: a layer number outside 1..L.
    """
    if not all(1 <= layer <= architecture.depth for layer in layers):
        raise ValueError(f"layers: received {layers}, allowed are 1..{architecture.depth}")
    if architecture.is_linear:
        return linear_agop_factors(weights, layers)
    stack, samples = x.shape[:2]
    per_sample = stack * architecture.widths[-1] * max(architecture.widths[:-1])
    size = max(1, min(samples, block_elements // per_sample))
    factors: dict[int, Tensor] = {}
    for start in range(0, samples, size):
        for layer, rows in _jacobian_rows(architecture, weights, x[:, start : start + size], layers).items():
            factors[layer] = _folded(factors.get(layer), rows)
    return {layer: factor / samples**0.5 for layer, factor in factors.items()}


def _jacobian_rows(architecture: Architecture, weights: Params, x: Tensor, layers: list[int]) -> dict[int, Tensor]:
    """Jacobians df/dh_{l-1} of every sample and output, stacked to (K, N C, D): one backward sweep for all outputs."""
    slopes, hidden = [], x
    for weight in weights[:-1]:
        before = torch.bmm(hidden, weight.mT)
        slopes.append(architecture.phi.derivative(before))
        hidden = architecture.phi.function(before)
    stack, samples = x.shape[:2]
    # at the last layer's input the Jacobian is W_L for every sample: (K, 1, C, D)
    back, found = weights[-1].unsqueeze(1), {}
    for layer in range(architecture.depth, 0, -1):
        if layer < architecture.depth:
            back = back * slopes[layer - 1].unsqueeze(2)
            back = torch.bmm(back.flatten(1, 2), weights[layer - 1]).unflatten(1, (samples, -1))
        if layer in layers:
            found[layer] = back.expand(stack, samples, -1, -1).flatten(1, 2)
    return found


def _folded(factor: Tensor | None, rows: Tensor) -> Tensor:
    """A factor of factor^T factor + rows^T rows with at most D rows, once there are more than D."""
    stacked = rows if factor is None else torch.cat([factor, rows], 1)
    if stacked.shape[1] <= stacked.shape[2]:
        return stacked
    return torch.linalg.qr(stacked, mode="r").R
