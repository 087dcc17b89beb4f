"""Linear maps at every position, and convolutions as products with unfolded patches."""

import torch
from torch import Tensor

from nfa_kernels.graphs.nodes import Conv, Linear
from nfa_kernels.programs.passing import Backward, Flow, Forward, columns_of, per_feature, product, summed


class LinearMap:
    """W h + b."""

    def forward(self, way: Forward, node: Linear, h: Flow) -> tuple[Flow, Tensor]:
        """Keeps what enters."""
        columns = columns_of(h.values)
        z = product(way.parameter(node, 0), columns, way.parameter(node, 1) if node.bias else None)
        return Flow(z.unflatten(-1, h.values.shape[2:]), is_free=True), columns

    def backward(self, way: Backward, node: Linear, kept: Tensor, delta: Flow, *, needed: bool) -> Flow | None:
        """Outer products, and W^T times what went in."""
        if delta.slopes is not None:
            if not way.taps_at(node.measured[0]) and delta.values.ndim == 3:
                return Flow(_of_slopes(way.parameter(node, 0), delta.values, delta.slopes), is_free=True)
            delta = way.each(node, delta)
        of_z = columns_of(delta.values)
        way.tap(node.measured[0], of_z, is_same=delta.is_same)
        if way.is_training:
            way.told(node, 0, product(of_z, kept.mT))
            if node.bias:
                way.told(node, 1, summed(of_z))
        if not needed:
            return None
        below = product(way.parameter(node, 0).mT, of_z)
        return Flow(below.unflatten(-1, delta.values.shape[2:]), is_free=True, is_same=delta.is_same)


def _of_slopes(weight: Tensor, coefficients: Tensor, slopes: Tensor) -> Tensor:
    """(K, in, R N) W^T diag(c_r) s for each c_r of (K, out, R) and s of (K, out, N).

    W^T diag(c) of all c at once is a product as large as W^T times each of the R N vectors, which are not formed.
    """
    each = (weight.mT.unsqueeze(2) * coefficients.mT.unsqueeze(1)).flatten(1, 2)
    return torch.bmm(each, slopes).unflatten(1, (weight.shape[2], -1)).flatten(2)


class Convolution:
    """W at every patch; a patch is unfolded whole, or along rows alone where the stride allows it."""

    def forward(self, way: Forward, node: Conv, h: Flow) -> tuple[Flow, Tensor]:
        """Keeps the unfolded patches."""
        weight = _kernels(node, way.parameter(node, 0))
        if node.unfolds_rows:
            patches = unfolded_rows(h.values, node.kernel, node.before, node.after)
            z = by_rows(weight, patches)
        else:
            patches = unfolded(node, h.values)
            z = torch.bmm(weight.flatten(2), patches.flatten(4).flatten(1, 3)).unflatten(-1, patches.shape[4:])
        if node.bias:
            z += per_feature(way.parameter(node, 1), z)
        return Flow(z, is_free=True), patches

    def backward(self, way: Backward, node: Conv, kept: Tensor, delta: Flow, *, needed: bool) -> Flow | None:
        """Products with the same patches, and the convolution with the turned kernel."""
        if delta.slopes is not None:
            if node.unfolds_rows and not way.taps_at(node.measured[0]) and _is_flat(delta.values):
                return Flow(self._of_slopes(way, node, delta.values[:, :, 0, 0], delta.slopes), is_free=True)
            delta = way.each(node, delta)
        values = delta.values
        of_z = values.flatten(2)
        way.tap(node.measured[0], of_z, is_same=delta.is_same)
        if way.is_training:
            way.told(node, 0, _of_kernels(node, kept, of_z))
            if node.bias:
                way.told(node, 1, summed(values))
        if not needed:
            return None
        weight = _kernels(node, way.parameter(node, 0))
        if node.unfolds_rows:
            below = by_rows(_turned(weight), _turned_rows(node, values))
            return Flow(below, is_free=True, is_same=delta.is_same)
        of_patches = torch.bmm(weight.flatten(2).mT, of_z)
        of_patches = of_patches.unflatten(1, (node.inputs[0], node.kernel, node.kernel)).unflatten(-1, values.shape[2:])
        return Flow(_folded(node, of_patches), is_free=True, is_same=delta.is_same)

    @staticmethod
    def _of_slopes(way: Backward, node: Conv, coefficients: Tensor, slopes: Tensor) -> Tensor:
        """(K, c, h, w, R N) from what all pixels have, (K, out, R), and slopes (K, out, h', w', N).

        As of a linear map: slopes are unfolded once, whatever R, and the kernels' product has R times as many rows.
        """
        turned = _turned(_kernels(node, way.parameter(node, 0)))
        each = turned.unsqueeze(2) * coefficients.mT[:, None, :, :, None, None]
        found = by_rows(each.flatten(1, 2), _turned_rows(node, slopes))
        return found.unflatten(1, (*turned.shape[1:2], -1)).permute(0, 1, 3, 4, 2, 5).flatten(-2)


def _is_flat(values: Tensor) -> bool:
    """Whether all pixels of an image (K, c, h, w, R) are the same numbers in memory."""
    return values.stride()[2:4] == (0, 0)


def _turned(weight: Tensor) -> Tensor:
    """(K, c, out, k, k) kernels of the way back."""
    return weight.flip(-2, -1).transpose(1, 2)


def _turned_rows(node: Conv, values: Tensor) -> Tensor:
    """Patches of what comes back, for the turned kernels."""
    return unfolded_rows(values, node.kernel, node.kernel - 1 - node.before, node.kernel - 1 - node.after)


def _kernels(node: Conv, weight: Tensor) -> Tensor:
    """(K, out, c, k, k) of W (K, out, c k k)."""
    return weight.unflatten(2, (node.inputs[0], node.kernel, node.kernel))


def unfolded_rows(h: Tensor, kernel: int, before: int, after: int) -> Tensor:
    """(K, k, c, h + before + after, w', N): number (j, c, y, x) is that in row y - before and column x + j - before."""
    stack, channels, high, wide, samples = h.shape
    across = wide + before + after - kernel + 1
    found = h.new_empty(stack, kernel, channels, high + before + after, across, samples)
    # zeros where the image has none: filling all would take as long as copying
    found[:, :, :, :before] = 0
    found[:, :, :, before + high :] = 0
    for j in range(kernel):
        first, last = max(0, before - j), min(across, wide + before - j)
        rows = found[:, j, :, before : before + high]
        rows[..., :first, :] = 0
        rows[..., last:, :] = 0
        rows[..., first:last, :] = h[:, :, :, first + j - before : last + j - before]
    return found


def by_rows(weight: Tensor, patches: Tensor) -> Tensor:
    """(K, out, h', w', N) of W (K, out, c, k, k) and patches as `unfolded_rows` makes them: a product for each row."""
    kernel, (across, samples) = weight.shape[-1], patches.shape[-2:]
    down, run = patches.shape[3] - kernel + 1, across * samples
    by_row = weight.permute(0, 3, 1, 4, 2).flatten(3)
    flat = patches.flatten(3).flatten(1, 2)
    z = torch.bmm(by_row[:, 0], flat[..., : down * run])
    for row in range(1, kernel):
        z.baddbmm_(by_row[:, row], flat[..., row * run : (row + down) * run])
    return z.unflatten(-1, (down, across, samples))


def _of_kernels(node: Conv, patches: Tensor, of_z: Tensor) -> Tensor:
    """(K, out, c k k) gradients from patches and derivatives (K, out, h' w' N)."""
    if not node.unfolds_rows:
        return product(of_z, patches.flatten(4).flatten(1, 3).mT)
    flat, run = patches.flatten(3).flatten(1, 2), patches.shape[-2] * patches.shape[-1]
    size = node.outputs[1] * run
    rows = [torch.bmm(of_z, flat[..., row * run : row * run + size].mT) for row in range(node.kernel)]
    # (K, out, i, j c) -> (K, out, c, i, j)
    found = torch.stack(rows, 2).unflatten(-1, (node.kernel, node.inputs[0]))
    return found.permute(0, 1, 4, 2, 3).flatten(2)


def _places(node: Conv, offset: int, size: int, count: int) -> tuple[slice, slice]:
    """Of `count` patches those whose number at this offset lies on the image, and where it lies."""
    at = offset - node.before
    first = max(0, -(at // node.stride))
    last = min(count, (size - 1 - at) // node.stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(first * node.stride + at, (last - 1) * node.stride + at + 1, node.stride)


def unfolded(node: Conv, h: Tensor) -> Tensor:
    """(K, c, k, k, h', w', N) patches of an image (K, c, h, w, N)."""
    (stack, channels, high, wide, samples), (_, down, across) = h.shape, node.outputs
    found = h.new_zeros(stack, channels, node.kernel, node.kernel, down, across, samples)
    for i in range(node.kernel):
        for j in range(node.kernel):
            (to_y, from_y), (to_x, from_x) = _places(node, i, high, down), _places(node, j, wide, across)
            found[:, :, i, j, to_y, to_x] = h[:, :, from_y, from_x]
    return found


def _folded(node: Conv, patches: Tensor) -> Tensor:
    """(K, c, h, w, N): the numbers of patches added where they lie."""
    (_, high, wide), (down, across, samples) = node.inputs, patches.shape[4:]
    found = patches.new_zeros(*patches.shape[:2], high, wide, samples)
    for i in range(node.kernel):
        for j in range(node.kernel):
            (from_y, to_y), (from_x, to_x) = _places(node, i, high, down), _places(node, j, wide, across)
            found[:, :, to_y, to_x] += patches[:, :, i, j, from_y, from_x]
    return found
