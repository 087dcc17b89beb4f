"""Layer, root mean square and group normalisation of each sample, of tokens each token."""

from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.graphs.nodes import Norm
from nfa_kernels.programs.passing import Backward, Flow, Forward, per_feature, sample_axis, summed


class _Kept(NamedTuple):
    scaled: Tensor
    """Before gains and biases, in the shape of what entered."""
    rate: Tensor
    """1 / standard deviation of every group, as what flows with groups for features and 1 for pixels."""


class Normalising:
    """Groups of the features of an image go with all its pixels, of a token or vector with its features alone."""

    def forward(self, way: Forward, node: Norm, h: Flow) -> tuple[Flow, _Kept]:
        """Keeps the normalised numbers."""
        grouped, axes = _grouped(node, h.values), _axes(node)
        if node.kind == "rms":
            rate = torch.rsqrt(grouped.square().mean(axes, keepdim=True) + node.epsilon)
            scaled = grouped * rate
        else:
            scaled = grouped - grouped.mean(axes, keepdim=True)
            rate = torch.rsqrt(scaled.square().mean(axes, keepdim=True) + node.epsilon)
            scaled *= rate
        scaled = scaled.flatten(1, 2)
        gain = per_feature(way.parameter(node, 0), scaled)
        if node.kind == "rms":
            out = scaled * gain
        else:
            out = torch.addcmul(per_feature(way.parameter(node, 1), scaled), scaled, gain)
        return Flow(out, is_free=True), _Kept(scaled, rate)

    def backward(self, way: Backward, node: Norm, kept: _Kept, delta: Flow, *, needed: bool) -> Flow | None:
        """What is left of the derivatives without their share along the mean and along the numbers themselves."""
        delta = way.each(node, delta)
        values, axis, axes = delta.values, sample_axis(node.inputs), _axes(node)
        if way.is_training:
            way.told(node, 0, summed(values * kept.scaled))
            if node.kind != "rms":
                way.told(node, 1, summed(values))
        if not needed:
            return None
        gain, scaled, rate = per_feature(way.parameter(node, 0), values), kept.scaled, kept.rate
        samples, before = scaled.shape[axis], values.shape[axis]
        if before > samples:
            # R derivatives of each of N samples, beside what is of the samples alone
            at = axis if axis > 0 else axis - 1
            values, scaled = values.unflatten(axis, (-1, samples)), scaled.unsqueeze(at)
            gain, rate = gain.unsqueeze(-1), rate.unsqueeze(at + 1 if at > 0 else at)
        below = values * gain
        grouped, scaled = _grouped(node, below), _grouped(node, scaled)
        along = (grouped * scaled).mean(axes, keepdim=True)
        if node.kind != "rms":
            grouped -= grouped.mean(axes, keepdim=True)
        grouped.addcmul_(scaled, along, value=-1).mul_(rate)
        return Flow(grouped.view(delta.values.shape), is_free=True)


def _axes(node: Norm) -> tuple[int, ...]:
    """Over which a group is normalised."""
    return (2, 3, 4) if len(node.inputs) == 3 else (2,)


def _grouped(node: Norm, h: Tensor) -> Tensor:
    """What flows with its features in groups, (K, groups, d / groups, ..)."""
    return h.unflatten(1, (node.groups, -1))
