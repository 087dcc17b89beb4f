"""The empirical tangent kernel of a whole stack: Theta = J J^T, J the Jacobian of outputs with respect to parameters.

Rows and columns are (sample, output), sample first. Of a fully connected network it is a sum over layers of products of
two small kernels, of the derivatives at z_l = c_l W_l h_{l-1} + b_l and of the inputs h_{l-1}: no Jacobian is formed.
Of any other network every sample becomes a network of its own in a larger stack, whose gradients are the Jacobian.
Source: Jacot, Gabriel, Hongler 2018, arXiv:1806.07572; the alignment is Atanasov, Bordelon, Pehlevan 2021,
arXiv:2111.00034.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.at_once import lanes_in_block
from nfa_kernels.cost import CURVATURE_ELEMENTS, KERNEL_ELEMENTS, samples_in_kernel
from nfa_kernels.networks import Architecture, Params
from nfa_kernels.scaling import unit_scaled
from nfa_kernels.taped import Taped, digits_are_kept, fresh


class Kernel(NamedTuple):
    """Tangent kernels over a power of four for each network, so that no product under- or overflows."""

    values: Tensor
    """(K, R, R), R = n C, float64; NaN where digits may have been lost."""
    powers: Tensor
    """(K,) p: Theta is 4^p times the values."""


def fully_connected_kernel(architecture: Architecture, params: Params, x: Tensor) -> Kernel:
    """The kernel of fully connected networks on x (K, n, D), of parameters in float64."""
    rows = x.shape[1] * architecture.widths[-1]
    lanes = lanes_in_block(x, 8 * (rows * sum(architecture.widths) + 4 * rows**2), 8 * CURVATURE_ELEMENTS)
    parts = [
        _by_layers(architecture, tuple(array[at : at + lanes] for array in params), x[at : at + lanes])
        for at in range(0, len(x), lanes)
    ]
    return _joined(parts)


def kernel_of(taped: Taped, x: Tensor) -> Kernel:
    """The kernel of networks of any kind on x (K, n, ..)."""
    outputs = taped.outputs(tuple(array[:1] for array in taped.params), x[:1, :1]).shape[-1]
    size = samples_in_kernel(x.shape[1], outputs, taped.parameters)
    lanes = lanes_in_block(x, 8 * x.shape[1] * outputs * taped.parameters, 8 * KERNEL_ELEMENTS)
    return _joined([_by_samples(part, x[some], size) for some, part in taped.parts(lanes)])


def ntk_alignment(kernel: Kernel, y: Tensor) -> Tensor:
    """y^T Theta y / (|Theta|_F |y|^2), (K,), of targets y (K, n, C); NaN where one of them vanishes."""
    values, row = kernel.values, unit_scaled(y.flatten(1))[0]
    along = ((values * row.unsqueeze(1)).sum(-1) * row).sum(-1)
    return along / (_norm(values) * row.square().sum(-1))


def ntk_movement(kernel: Kernel, initial: Kernel) -> Tensor:
    """|Theta - Theta_0|_F / |Theta_0|_F, (K,); NaN where the kernel at step 0 vanishes."""
    least = torch.maximum(kernel.powers, initial.powers)
    now, before = (
        torch.ldexp(one.values, (2 * (one.powers - least)).clamp_min(-1000)[:, None, None]) for one in (kernel, initial)
    )
    found = _norm(now - before) / _norm(before)
    return torch.where(found.isfinite(), found, torch.nan)


def _norm(values: Tensor) -> Tensor:
    return values.square().sum((-2, -1)).sqrt()


def _joined(parts: list[Kernel]) -> Kernel:
    return Kernel(*(torch.cat(of_parts) for of_parts in zip(*parts, strict=True)))


def _by_layers(architecture: Architecture, params: Params, x: Tensor) -> Kernel:
    """Layer by layer, of a few networks."""
    weights, biases, phi = architecture.effective(params), architecture.biases(params), architecture.phi
    inputs, slopes = [x], []
    for index, weight in enumerate(weights[:-1]):
        before = torch.bmm(inputs[-1], weight.mT)
        before = before + biases[index].mT if biases else before
        inputs.append(before if architecture.is_linear else phi.function(before))
        slopes.append(torch.ones_like(before) if architecture.is_linear else phi.derivative(before))
    stack, samples, outputs = len(x), x.shape[1], architecture.widths[-1]
    # (K, n C, d_l) df_c(x_i)/dz_l
    back = torch.eye(outputs, dtype=x.dtype, device=x.device).repeat(samples, 1).expand(stack, -1, -1)
    terms: list[Kernel] = []
    for index in range(len(weights) - 1, -1, -1):
        above, power = _gram(back)
        of_inputs, more = _gram(inputs[index])
        c = architecture.multipliers[index]
        spread = above.unflatten(2, (samples, outputs)).unflatten(1, (samples, outputs))
        product = (spread * of_inputs[:, :, None, :, None]).flatten(3).flatten(1, 2) * (c * c)
        terms.append(Kernel(product, power + more))
        if biases:
            terms.append(Kernel(above, power))
        if index:
            back = torch.bmm(back, weights[index])
            back = back * slopes[index - 1].repeat_interleave(outputs, 1)
    powers = torch.stack([term.powers for term in terms]).amax(0)
    total = sum(torch.ldexp(one.values, (2 * (one.powers - powers)).clamp_min(-1000)[:, None, None]) for one in terms)
    assert isinstance(total, Tensor)
    return Kernel(torch.where(digits_are_kept((*params, x))[:, None, None], total, torch.nan), powers)


def _gram(rows: Tensor) -> tuple[Tensor, Tensor]:
    """A A^T over a power of four, and half of its exponent, (K,)."""
    scaled, powers = _scaled(rows)
    return _product(scaled, scaled), powers


def _scaled(rows: Tensor, powers: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rows over a power of two for each network, the one above the largest number or the given one."""
    if powers is None:
        most = rows.abs().flatten(1).amax(1)
        usable = (most > 0) & most.isfinite()
        powers = torch.where(usable, torch.frexp(torch.where(usable, most, 1.0)).exponent.clamp(-1000, 1000), 0)
    return torch.ldexp(rows, -powers[:, None, None]), powers


def _product(left: Tensor, right: Tensor) -> Tensor:
    """A B^T (K, R, S); one row alone would be rounded by how many there are in the stack."""
    if left.shape[1] == 1 or right.shape[1] == 1:
        return (left.unsqueeze(2) * right.unsqueeze(1)).sum(-1)
    return torch.bmm(left, right.mT)


def _by_samples(taped: Taped, x: Tensor, size: int) -> Kernel:
    """Block by block of so many samples, of a few networks; Jacobians that do not fit are taken again for each pair."""
    starts = [*range(0, x.shape[1], size)]
    first, powers = _scaled(_jacobian(taped, x[:, :size]))
    values = first.new_empty(len(x), 0, 0)
    rows: list[list[Tensor]] = []
    for place, at in enumerate(starts):
        left = first if place == 0 else _scaled(_jacobian(taped, x[:, at : at + size]), powers)[0]
        row = [rows[other][place].mT for other in range(place)]
        row.append(_product(left, left))
        for after in starts[place + 1 :]:
            right = _scaled(_jacobian(taped, x[:, after : after + size]), powers)[0]
            row.append(_product(left, right))
        rows.append(row)
    values = torch.cat([torch.cat(row, 2) for row in rows], 1)
    return Kernel(torch.where(digits_are_kept((*taped.params, x))[:, None, None], values, torch.nan), powers)


def _jacobian(taped: Taped, x: Tensor) -> Tensor:
    """(K, n C, P) of a few samples: each is a network of its own, with the parameters of its network."""
    stack, samples = x.shape[:2]
    with torch.inference_mode(False), torch.enable_grad():
        leaves = tuple(fresh(array).repeat_interleave(samples, 0).requires_grad_() for array in taped.params)
        outputs = taped.outputs(leaves, fresh(x).flatten(0, 1).unsqueeze(1)).squeeze(1)
        columns = []
        for output in range(outputs.shape[1]):
            one = torch.zeros_like(outputs[:1])
            one[:, output] = 1
            found = torch.autograd.grad(
                outputs, leaves, one.expand_as(outputs), retain_graph=True, materialize_grads=True
            )
            columns.append(torch.cat([part.flatten(1) for part in found], 1))
        return torch.stack(columns, 1).unflatten(0, (stack, samples)).flatten(1, 2)
