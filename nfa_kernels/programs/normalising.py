"""Layer, root mean square and group normalisation of each sample, of tokens each token."""

from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.graphs.nodes import Norm
from nfa_kernels.programs.passing import Backward, Flow, Forward, per_feature, summed, times


class _Kept(NamedTuple):
    scaled: Tensor
    """Before gains and biases, in the shape of what entered."""
    rate: Tensor
    """1 / standard deviation of every group, (K, N, .., groups, 1), of images (K, groups, 1, N)."""


class Normalising:
    """Groups of the features of an image go with all its pixels, of a token or vector with its features alone."""

    def forward(self, way: Forward, node: Norm, h: Flow) -> tuple[Flow, _Kept]:
        """Keeps the normalised numbers."""
        is_image = len(node.inputs) == 3
        grouped = _grouped(node, h.values)
        axis = 2 if is_image else -1
        if node.kind == "rms":
            rate = torch.rsqrt(grouped.square().mean(axis, keepdim=True) + node.epsilon)
            scaled = grouped * rate
        else:
            scaled = grouped - grouped.mean(axis, keepdim=True)
            rate = torch.rsqrt(scaled.square().mean(axis, keepdim=True) + node.epsilon)
            scaled *= rate
        scaled = scaled.reshape(h.values.shape)
        gain = per_feature(way.parameter(node, 0), scaled, is_image=is_image)
        if node.kind == "rms":
            out = scaled * gain
        else:
            out = torch.addcmul(per_feature(way.parameter(node, 1), scaled, is_image=is_image), scaled, gain)
        return Flow(out, is_free=True), _Kept(scaled, rate)

    def backward(self, way: Backward, node: Norm, kept: _Kept, delta: Flow, *, needed: bool) -> Flow | None:
        """What is left of the derivatives without their share along the mean and along the numbers themselves."""
        is_image = len(node.inputs) == 3
        values, axis = delta.values, 2 if is_image else -1
        if way.is_training:
            way.told(node, 0, summed(values * kept.scaled, is_image=is_image))
            if node.kind != "rms":
                way.told(node, 1, summed(values, is_image=is_image))
        if not needed:
            return None
        below = values * per_feature(way.parameter(node, 0), values, is_image=is_image)
        grouped = _grouped(node, below)
        along = _grouped(node, times(Flow(below), kept.scaled, is_image=is_image)).mean(axis, keepdim=True)
        if node.kind != "rms":
            grouped -= grouped.mean(axis, keepdim=True)
        scaled, rate = _repeated(node, kept, values.shape[-1 if is_image else 1])
        grouped.addcmul_(_grouped(node, scaled), along, value=-1).mul_(rate)
        return Flow(grouped.reshape(values.shape), is_free=True)


def _grouped(node: Norm, h: Tensor) -> Tensor:
    """(K, groups, numbers, N) of an image (K, c, h, w, N), else (K, N, .., groups, numbers)."""
    if len(node.inputs) == 3:
        return h.unflatten(1, (node.groups, -1)).flatten(2, 4)
    return h.unflatten(-1, (node.groups, -1))


def _repeated(node: Norm, kept: _Kept, samples: int) -> tuple[Tensor, Tensor]:
    """What is kept of N samples, for each of R N."""
    axis = -1 if len(node.inputs) == 3 else 1
    times_over = samples // kept.scaled.shape[axis]
    if times_over == 1:
        return kept.scaled, kept.rate
    scaled, rate = (torch.cat([one] * times_over, axis) for one in kept)
    return scaled, rate
