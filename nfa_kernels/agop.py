"""Thin factors of the AGOP: F with F^T F = G_l, the average gradient outer product at a layer's input.

G_l = mean_i J_l(x_i)^T J_l(x_i), J_l(x) = df/dh_{l-1} (C, D), summed over outputs, not divided by C. The Jacobians
stacked over samples and outputs, over sqrt(N), are such a factor; blocks of samples are folded into a triangular one,
so memory is bounded whatever N and C are.
Source: Radhakrishnan et al. 2024, doi:10.1126/science.adi5639. Departure: factored, not summed.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.agop_ways import UNITS, is_tall, way
from nfa_kernels.at_once import lanes_in_block
from nfa_kernels.native.linear_networks import partial_products
from nfa_kernels.native.sweeps import Swept, Targets, is_compiled, outer, swept
from nfa_kernels.networks import Architecture, Params
from nfa_kernels.networks import layers as passed_layers
from nfa_kernels.scaling import layers_scaled
from nfa_kernels.spectra import Spectrum, all_finite, gram_spectrum, joined, spectrum, zeroed
from nfa_kernels.triangles import triangle

BLOCK_ELEMENTS = 1 << 24
"""Numbers in the largest array of one block of Jacobians, unless the caller says otherwise (128 MiB in float64)."""
_CACHED_BYTES = 4 << 20
"""Of the Jacobians of networks that a core sweeps at once, so that they stay in its cache."""


class Sweep(NamedTuple):
    """What one pass over the samples, forward and back, finds of networks that are not linear."""

    outputs: Tensor
    """(K, N, C) f(x)."""
    spectra: dict[int, Spectrum]
    """Layer -> spectrum of the AGOP at its input."""
    preactivations: dict[int, Tensor]
    """Layer -> factor (K, R, H) of the outer products of df/dz_l, z_l = c_l W_l h_{l-1}."""
    gradients: Params
    """Of the loss with respect to every parameter, where the pass has found them; or else empty."""


def agop_factors(
    architecture: Architecture,
    weights: Params,
    x: Tensor,
    layers: Collection[int],
    block_elements: int = BLOCK_ELEMENTS,
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
    parts = [*_sweeps(architecture, weights, x, layers, (), block_elements)]
    return {layer: torch.cat([folded(None, part.inputs[layer]) for part in parts]) for layer in layers}


def linear_agop_factors(weights: Params, layers: Collection[int]) -> dict[int, Tensor]:
    """F_l = W_L .. W_l (K, C, D) of a linear network, for each asked layer: exact, and independent of the data."""
    compiled = partial_products(weights, layers)
    if compiled is not None:
        return compiled
    factors, back = {}, weights[-1]
    for layer in range(len(weights), 0, -1):
        if layer < len(weights):
            back = torch.bmm(back, weights[layer - 1])
        if layer in layers:
            factors[layer] = back
    return factors


def linear_preactivation_factors(weights: Params, layers: Collection[int]) -> dict[int, Tensor]:
    """As `Sweep.preactivations`, of a linear network."""
    above = linear_agop_factors(weights, [layer + 1 for layer in layers])
    return {layer: above.get(layer + 1, _identity(weights[-1])) for layer in layers}


def linear_agop_spectra(architecture: Architecture, weights: Params, layers: Collection[int]) -> dict[int, Spectrum]:
    """Spectrum of G_l of linear networks from effective weights c_l W_l, right however large or small layers are."""
    scaled, logs = layers_scaled(weights)
    factors, widths = linear_agop_factors(tuple(scaled), layers), architecture.widths
    is_scaled = scaled[0] is not weights[0]
    # W_L .. W_l has at most the smallest width as its rank; what rounding adds is no eigenvalue
    return {
        layer: spectrum(
            factor,
            rank=min(widths[layer - 1 :]),
            log_scale=torch.stack(logs[layer - 1 :]).sum(0) if is_scaled else None,
        )
        for layer, factor in factors.items()
    }


def agop_spectra(architecture: Architecture, factors: Mapping[int, Tensor], samples: int) -> dict[int, Spectrum]:
    """Spectrum of G_l for each layer with a factor.

    Args:
        architecture: shared by the stack.
        factors: from `agop_factors`.
        samples: N of the inputs over which they were averaged.
    """
    widths, rows = architecture.widths, samples * architecture.widths[-1]
    if architecture.is_linear:
        # W_L .. W_l has at most the smallest width as its rank; what rounding adds is no eigenvalue
        return {layer: spectrum(factor, rank=min(widths[layer - 1 :])) for layer, factor in factors.items()}
    return {layer: spectrum(factor, rows, min(widths[layer - 1 : layer + 1])) for layer, factor in factors.items()}


def sweep(
    architecture: Architecture,
    weights: Params,
    x: Tensor,
    at_inputs: Collection[int],
    at_preactivations: Collection[int],
    block_elements: int = BLOCK_ELEMENTS,
    targets: Targets | None = None,
) -> Sweep:
    """Outputs, and factors of averaged outer products of Jacobians, of networks that are not linear.

    P_l c_l W_l, with P_l the factor before layer l's activation, is a factor of the AGOP at that layer's input.

    Args:
        architecture: shared by the stack.
        weights: parameters of the stack, biases included.
        x: (K, N, D) inputs over which the outer products are averaged.
        at_inputs: numbers of the layers whose inputs are asked for.
        at_preactivations: numbers of the layers before whose activation they are asked for.
        block_elements: bound on the numbers in one block's Jacobians.
        targets: with which gradients of the loss are asked for, where they come with the pass.
    Raises:
        ValueError: a layer number outside 1..L.
    """
    parts, lane = [], 0
    units_at = [layer for layer in at_inputs if _is_of_units(architecture, x, layer)]
    grams_at = [layer for layer in at_inputs if layer not in units_at and _is_of_gram(architecture, x, layer)]
    summed = grams_at, units_at
    for part in _sweeps(architecture, weights, x, at_inputs, at_preactivations, block_elements, targets, *summed):
        of_part = slice(lane, lane := lane + len(part.outputs))
        factors_of = partial(_again, architecture, tuple(one[of_part] for one in weights), x[of_part], block_elements)
        folded_ones = {layer: folded(None, of_layer) for layer, of_layer in part.preactivations.items()}
        spectra = agop_spectra(architecture, part.inputs, x.shape[1])
        for layer, matrix in part.grams.items():
            rows, rank = x.shape[1] * architecture.widths[-1], min(architecture.widths[layer - 1 : layer + 1])
            spectra[layer] = gram_spectrum(matrix, x.dtype, rows, rank, partial(factors_of, layer))
        for layer, matrix in part.unit_grams.items():
            weight = architecture.effective(weights)[layer - 1][of_part].to(torch.float64)
            spectra[layer] = _units_spectrum(architecture, matrix, weight, x, layer, partial(factors_of, layer))
        parts.append(Sweep(part.outputs, spectra, folded_ones, part.gradients))
    gradients = tuple(torch.cat(of_parts) for of_parts in zip(*(part.gradients for part in parts), strict=True))
    return Sweep(
        torch.cat([part.outputs.mT for part in parts]).mT,
        {layer: joined([part.spectra[layer] for part in parts]) for layer in at_inputs},
        {layer: torch.cat([part.preactivations[layer] for part in parts]) for layer in at_preactivations},
        architecture.pulled_back(gradients) if gradients else (),
    )


def _is_of_gram(architecture: Architecture, x: Tensor, layer: int) -> bool:
    """Whether F^T F, summed in double, is looked at before the factor F of the AGOP at a layer's input."""
    widths, rows = architecture.widths, x.shape[1] * architecture.widths[-1]
    return layer < architecture.depth and is_tall(rows, widths[layer - 1], min(widths[layer - 1 : layer + 1]))


def _is_of_units(architecture: Architecture, x: Tensor, layer: int) -> bool:
    """Whether outer products are summed before the layer's activation, and its weights multiplied with once."""
    return layer < architecture.depth and (
        way(
            architecture.widths,
            layer,
            x.shape[1],
            halves=architecture.activation == "relu",
            single=x.dtype == torch.float32,
        )
        == UNITS
    )


def _units_spectrum(
    architecture: Architecture,
    products: Tensor,
    weight: Tensor,
    x: Tensor,
    layer: int,
    factors: Callable[[Tensor], Tensor],
) -> Spectrum:
    """Spectrum of W^T P W, from P (K, H, H) and W (K, H, D), both in float64; `factors` as of `gram_spectrum`.

    With R^T R = P a factor is R W, as good as P is conditioned; P of other networks is not told by their products.
    """
    units, inputs = architecture.widths[layer], architecture.widths[layer - 1]
    rows, rank = x.shape[1] * architecture.widths[-1], min(units, inputs)

    def through_units(lanes: Tensor | None) -> Tensor:
        """(L, rank, D) of the lanes of a mask, or of all, in the passes' dtype: as well as that they are known."""
        some = slice(None) if lanes is None else lanes
        triangles, is_doubtful = triangle(products[some], exact=x.dtype == torch.float64)
        found = folded(None, torch.bmm(triangles, weight[some]))
        if bool(is_doubtful.any()):
            others = is_doubtful if lanes is None else lanes.index_put((lanes,), is_doubtful)
            found[is_doubtful] = _of_rank(folded(None, factors(others).to(torch.float64)), rank)
        return found.to(x.dtype)

    if units < inputs:
        return spectrum(through_units(None), rows=rows, rank=rank)
    matrix = torch.bmm(weight.mT, torch.bmm(products, weight))
    # what is rounding beside P and W need not be beside their product
    size = torch.linalg.matrix_norm(products) * torch.linalg.matrix_norm(torch.bmm(weight.mT, weight))
    return gram_spectrum((matrix + matrix.mT) / 2, x.dtype, rows, rank, through_units, size)


def _of_rank(factor: Tensor, rank: int) -> Tensor:
    """A factor (K, rank, D) of as many rows as its rank may have; of what is not finite NaN."""
    if factor.shape[1] <= rank:
        return torch.nn.functional.pad(factor, (0, 0, 0, rank - factor.shape[1]))
    finite = all_finite(factor)
    _, singular, vectors = torch.linalg.svd(zeroed(factor, finite), full_matrices=False)
    found = (singular.unsqueeze(2) * vectors)[:, :rank]
    return torch.where(finite[:, None, None], found, torch.nan)


def _again(
    architecture: Architecture, weights: Params, x: Tensor, block_elements: int, layer: int, lanes: Tensor
) -> Tensor:
    """Factors of the AGOP at a layer's input, of the networks of a mask."""
    some = tuple(one[lanes] for one in weights)
    return torch.cat(
        [part.inputs[layer] for part in _sweeps(architecture, some, x[lanes], (layer,), (), block_elements)]
    )


def _sweeps(
    architecture: Architecture,
    weights: Params,
    x: Tensor,
    at_inputs: Collection[int],
    at_preactivations: Collection[int],
    block_elements: int,
    targets: Targets | None = None,
    grams_at: Collection[int] = (),
    units_at: Collection[int] = (),
) -> Iterator[Swept]:
    """Factors of a few networks at a time; of one block of samples they are the Jacobians themselves.

    Of the layers `grams_at`, among those `at_inputs`, F^T F in place of F where the sweep is compiled; of those
    `units_at`, among them too, P P^T of the factor P before their activation.
    """
    _check_layers(architecture, {*at_inputs, *at_preactivations})
    stack, samples = x.shape[:2]
    per_sample = architecture.widths[-1] * max(architecture.widths)
    size = max(1, min(samples, block_elements // per_sample))
    cached = min(block_elements * x.element_size(), _CACHED_BYTES)
    lanes = lanes_in_block(x, size * per_sample * x.element_size(), cached)
    if {*at_inputs}.issubset((*grams_at, *units_at, architecture.depth)) and {*at_preactivations} <= {
        architecture.depth
    }:
        # no Jacobian leaves the cache
        lanes = stack if is_compiled(architecture, x, targets) else lanes
    for lane in range(0, stack, lanes):
        some, inputs = tuple(weight[lane : lane + lanes] for weight in weights), x[lane : lane + lanes]
        of_some = targets and Targets(targets.y[lane : lane + lanes], targets.loss) if size == samples else None
        yield _swept(
            architecture, some, inputs.split(size, 1), at_inputs, at_preactivations, of_some, grams_at, units_at
        )


def _check_layers(architecture: Architecture, layers: Collection[int]) -> None:
    if not all(1 <= layer <= architecture.depth for layer in layers):
        raise ValueError(f"layers: received {[*layers]}, allowed are 1..{architecture.depth}")


def _identity(last: Tensor) -> Tensor:
    """df/df (K, C, C) of a stack with last layer (K, C, H)."""
    outputs = last.shape[1]
    return torch.eye(outputs, dtype=last.dtype, device=last.device).expand(last.shape[0], outputs, outputs)


def _swept(
    architecture: Architecture,
    weights: Params,
    blocks: Collection[Tensor],
    at_inputs: Collection[int],
    at_preactivations: Collection[int],
    targets: Targets | None,
    grams_at: Collection[int],
    units_at: Collection[int],
) -> Swept:
    """The sweep of a few networks, folded block by block over the samples."""
    last = architecture.depth
    below = [{*at_inputs} - {last, *units_at}, {*at_preactivations} - {last}]
    of_factors = [below[0].difference(grams_at), below[1]]
    grams: dict[int, Tensor] = {}
    unit_grams: dict[int, Tensor] = {}
    outputs: list[Tensor] = []
    inputs: dict[int, Tensor] = {}
    preactivations: dict[int, Tensor] = {}
    gradients: Params = ()
    samples = sum(block.shape[1] for block in blocks)
    for block in blocks:
        found = swept(architecture, weights, block, samples**-0.5, *of_factors, targets, grams_at, units_at)
        if found is None:
            found = _jacobian_rows(architecture, weights, block, samples, *below, units_at)
        gradients = found.gradients
        outputs.append(found.outputs)
        for factors, rows in ((inputs, found.inputs), (preactivations, found.preactivations)):
            for layer, more in rows.items():
                factors[layer] = folded(factors[layer], more) if layer in factors else more
        for sums, of_block in ((grams, found.grams), (unit_grams, found.unit_grams)):
            for layer, more in of_block.items():
                sums[layer] = sums[layer] + more if layer in sums else more
    # behind the last activation the Jacobian is the same for every sample
    matrix = architecture.effective(weights)[-1]
    if last in at_inputs:
        inputs[last] = matrix
    if last in at_preactivations:
        preactivations[last] = _identity(matrix)
    return Swept(torch.cat([some.mT for some in outputs], 2).mT, inputs, preactivations, gradients, grams, unit_grams)


def _jacobian_rows(
    architecture: Architecture,
    weights: Params,
    x: Tensor,
    samples: int,
    at_inputs: Collection[int],
    at_preactivations: Collection[int],
    units_at: Collection[int],
) -> Swept:
    """Outputs of a block, and its Jacobians df/dh_{l-1} and df/dz_l below the last layer over sqrt(samples).

    As rows they are (K, C N, ..), and lie in memory with the samples last; see `networks.layers`.
    """
    passed, phi = passed_layers(architecture, weights, x), architecture.phi
    weights = architecture.effective(weights)
    last = weights[-1] / samples**0.5
    # (df/dh_l)^T (K, H, C, N); (K, H, C, 1) where all samples have the same
    back, found = last.mT.unsqueeze(3), Swept(passed[-1][0].mT, {}, {}, (), {}, {})
    lowest = min((*at_inputs, *at_preactivations, *units_at), default=architecture.depth)
    for layer in range(architecture.depth - 1, lowest - 1, -1):
        before, weight = passed[layer - 1][0], weights[layer - 1]
        outputs, inputs = back.shape[2], weight.shape[2]
        if layer in units_at and back.shape[3] == 1:
            slopes = phi.derivative(before).to(torch.float64)
            found.unit_grams[layer] = torch.bmm(slopes, slopes.mT) * outer(last)
            if layer == lowest and layer not in (*at_inputs, *at_preactivations):
                break
        asked = layer in at_preactivations or (layer in units_at and layer not in found.unit_grams)
        if back.shape[3] == 1 and inputs <= x.shape[1] and not asked:
            # slopes times (diag(w_c) W for every output c): a product as large, and no array of Jacobians before it
            scaled = weight.new_empty(len(weight), inputs, outputs, weight.shape[1])
            torch.mul(weight.mT.contiguous().unsqueeze(2), last.unsqueeze(1), out=scaled)
            back = torch.bmm(scaled.flatten(1, 2), phi.derivative(before)).unflatten(1, (inputs, outputs))
        else:
            if back.shape[3] == 1 or layer + 1 in at_inputs:
                # left to itself, torch lays the product out as it finds the smaller factor
                room = back.new_empty(*back.shape[:3], x.shape[1])
                back = torch.mul(back, phi.derivative(before).unsqueeze(2), out=room)
            else:
                back = phi.backward(back, before.unsqueeze(2))
            if layer in at_preactivations:
                found.preactivations[layer] = back.flatten(2).mT
            if layer in units_at and layer not in found.unit_grams:
                rows = back.flatten(2).to(torch.float64)
                found.unit_grams[layer] = torch.bmm(rows, rows.mT)
            back = torch.bmm(weight.mT, back.flatten(2)).unflatten(2, (outputs, x.shape[1]))
        if layer in at_inputs:
            found.inputs[layer] = back.flatten(2).mT
    return found


def folded(factor: Tensor | None, rows: Tensor) -> Tensor:
    """A factor of factor^T factor + rows^T rows, each (K, R, D), with at most D rows once there are more than D."""
    stacked = rows if factor is None else torch.cat([factor, rows], 1)
    return stacked if stacked.shape[1] <= stacked.shape[2] else torch.linalg.qr(stacked, mode="r").R
