"""Thin factors of the AGOP: F with F^T F = G_l, the average gradient outer product at a layer's input.

G_l = mean_i J_l(x_i)^T J_l(x_i), J_l(x) = df/dh_{l-1} (C, D), summed over outputs, not divided by C. The matrix G_l
itself is never formed: its null eigenvalues would come out at eps times the largest one and enter a power 1/L as
eps^(1/L). The Jacobians stacked over samples and outputs, over sqrt(N), are such a factor; blocks of samples are
folded into it by QR, so memory is bounded whatever N and C are.
Source: Radhakrishnan et al. 2024, doi:10.1126/science.adi5639. Departure: factored, not summed.
"""

import torch
from torch import Tensor

from nfa_kernels.networks import Architecture, Params, hidden_layers
from nfa_kernels.spectra import Spectrum, spectrum

BLOCK_ELEMENTS = 1 << 24
"""Numbers in the largest array of one block of Jacobians, unless the caller says otherwise (128 MiB in float64)."""
_CACHED_ELEMENTS = 1 << 18
"""Networks are swept a few at a time, so that their arrays stay in a core's cache: 2.5 times as fast at K = 64."""


def agop_spectra(
    architecture: Architecture, weights: Params, x: Tensor, layers: list[int], block_elements: int = BLOCK_ELEMENTS
) -> dict[int, Spectrum]:
    """Spectrum of G_l for each asked layer; arguments and errors as in `agop_factors`."""
    factors = agop_factors(architecture, weights, x, layers, block_elements)
    widths, rows = architecture.widths, x.shape[1] * architecture.widths[-1]
    if architecture.is_linear:
        # W_L .. W_l has at most the smallest width as its rank; what rounding adds is no eigenvalue
        return {layer: spectrum(factor, rank=min(widths[layer - 1 :])) for layer, factor in factors.items()}
    return {layer: spectrum(factor, rows, min(widths[layer - 1 : layer + 1])) for layer, factor in factors.items()}


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
        weights: parameters of the stack, biases included.
        x: (K, N, D) inputs over which the outer products are averaged.
        layers: numbers from 1.
        block_elements: bound on the numbers in one block's Jacobians.
    Raises:
        ValueError: a layer number outside 1..L.
    """
    _check_layers(architecture, layers)
    if architecture.is_linear:
        return linear_agop_factors(architecture.effective(weights), layers)
    return _swept(architecture, weights, x, layers, block_elements, before_layer=True)


def preactivation_factors(
    architecture: Architecture, weights: Params, x: Tensor, layers: list[int], block_elements: int = BLOCK_ELEMENTS
) -> dict[int, Tensor]:
    """A factor P_l (K, R, H) of the outer products of df/dz_l, z_l = c_l W_l h_{l-1}, averaged over the samples.

    P_l c_l W_l is a factor of the AGOP at the layer's input. Arguments and errors as in `agop_factors`.
    """
    _check_layers(architecture, layers)
    if architecture.is_linear:
        above = linear_agop_factors(architecture.effective(weights), [layer + 1 for layer in layers])
        last = architecture.weights(weights)[-1]
        return {layer: above.get(layer + 1, _identity(last)) for layer in layers}
    return _swept(architecture, weights, x, layers, block_elements, before_layer=False)


def _check_layers(architecture: Architecture, layers: list[int]) -> None:
    if not all(1 <= layer <= architecture.depth for layer in layers):
        raise ValueError(f"layers: received {layers}, allowed are 1..{architecture.depth}")


def _identity(last: Tensor) -> Tensor:
    """df/df (K, C, C) of a stack with last layer (K, C, H)."""
    outputs = last.shape[1]
    return torch.eye(outputs, dtype=last.dtype, device=last.device).expand(last.shape[0], outputs, outputs)


def _swept(
    architecture: Architecture,
    weights: Params,
    x: Tensor,
    layers: list[int],
    block_elements: int,
    *,
    before_layer: bool,
) -> dict[int, Tensor]:
    """Factors at the layers' inputs, or before their activations, folded block by block over the samples."""
    stack, samples = x.shape[:2]
    per_sample = architecture.widths[-1] * max(architecture.widths)
    size = max(1, min(samples, block_elements // per_sample))
    lanes = max(1, min(block_elements, _CACHED_ELEMENTS) // (size * per_sample))
    parts: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    for lane in range(0, stack, lanes):
        some, inputs = tuple(weight[lane : lane + lanes] for weight in weights), x[lane : lane + lanes]
        factors: dict[int, Tensor] = {}
        for start in range(0, samples, size):
            block = inputs[:, start : start + size]
            for layer, rows in _jacobian_rows(architecture, some, block, layers, before_layer=before_layer).items():
                factors[layer] = folded(factors.get(layer), rows)
        for layer, factor in factors.items():
            parts[layer].append(factor / samples**0.5)
    return {layer: torch.cat(found) for layer, found in parts.items()}


def _jacobian_rows(
    architecture: Architecture, weights: Params, x: Tensor, layers: list[int], *, before_layer: bool
) -> dict[int, Tensor]:
    """Jacobians df/dh_{l-1}, or df/dz_l, of every sample and output as (K, N C, ..): one sweep for all outputs."""
    slopes = [architecture.phi.derivative(before) for before, _ in hidden_layers(architecture, weights, x)]
    weights = architecture.effective(weights)
    stack, samples = x.shape[:2]
    # with respect to the outputs themselves the Jacobian is the identity, for every sample: (K, 1, C, C)
    back, found = _identity(weights[-1]).unsqueeze(1), {}
    for layer in range(architecture.depth, 0, -1):
        if layer < architecture.depth:
            back = back * slopes[layer - 1].unsqueeze(2)
        if layer in layers and not before_layer:
            found[layer] = back
        back = torch.bmm(back.flatten(1, 2), weights[layer - 1]).unflatten(1, (back.shape[1], -1))
        if layer in layers and before_layer:
            found[layer] = back
    return {layer: rows.expand(stack, samples, -1, -1).flatten(1, 2) for layer, rows in found.items()}


def folded(factor: Tensor | None, rows: Tensor) -> Tensor:
    """A factor of factor^T factor + rows^T rows, each (K, R, D), with at most D rows once there are more than D."""
    stacked = rows if factor is None else torch.cat([factor, rows], 1)
    if stacked.shape[1] <= stacked.shape[2]:
        return stacked
    return torch.linalg.qr(stacked, mode="r").R
