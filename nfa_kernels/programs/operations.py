"""What each kind of layer computes, forward and back, for all networks of a stack at once; see `passing`."""

from typing import Any

import torch
from torch import Tensor

from nfa_kernels.activations import Activation, activation
from nfa_kernels.graphs.nodes import (
    Activated,
    Attention,
    Conv,
    Embedding,
    Flatten,
    Linear,
    Norm,
    Pool,
    Positions,
    Readout,
    Residual,
)
from nfa_kernels.programs.attending import Attending
from nfa_kernels.programs.maps import Convolution, LinearMap
from nfa_kernels.programs.normalising import Normalising
from nfa_kernels.programs.passing import Backward, Flow, Forward, Operations, sample_axis, times
from nfa_kernels.programs.shaping import Embedded, Flattening, Placed, Pooling, ReadingOut

_VECTORS = 64
"""Numbers of a network that make whole vectors of any processor: their last few are computed as all others are."""


class Bending:
    """An activation with the derivative that this package gives it, also at kinks and where formulas overflow."""

    def forward(self, way: Forward, node: Activated, h: Flow) -> tuple[Flow, Tensor | None]:
        """Keeps the derivative, which shares work with the value; or what says the derivative, the value or z."""
        phi, z = activation(node.activation, node.slope), h.values
        if phi.overwriting is not None:
            value = phi.overwriting(z) if h.is_free else phi.function(z)
            return Flow(value), value
        if phi.whole is not None and _is_whole(z):
            return Flow(phi.whole[0](z), is_free=True), z
        if not way.keeps:
            return Flow(phi.function(z)), None
        value, derivative = phi.with_derivative(z)
        return Flow(value), derivative

    def backward(self, way: Backward, node: Activated, kept: Tensor, delta: Flow, *, needed: bool) -> Flow | None:
        """Times the derivative."""
        phi, axis = activation(node.activation, node.slope), sample_axis(node.inputs)
        if delta.is_same:
            slopes = _slopes(phi, kept)
            return delta._replace(slopes=slopes if delta.slopes is None else slopes * delta.slopes)
        one_each = delta.values.shape == kept.shape
        if phi.whole is not None and _is_whole(kept):
            if one_each:
                return Flow(phi.whole[1](delta.values, kept), is_free=True)
        elif phi.fused is not None and delta.is_free and one_each:
            return Flow(phi.fused(delta.values, kept), is_free=True)
        return Flow(times(delta, _slopes(phi, kept), axis), is_free=True)


def _slopes(phi: Activation, kept: Tensor) -> Tensor:
    """The derivative at every number that went in, from what the way forward keeps."""
    if phi.whole is not None and _is_whole(kept):
        return phi.whole[1](torch.ones_like(kept), kept)
    return kept if phi.overwriting is None else phi.derivative(kept)


def _is_whole(z: Tensor) -> bool:
    return z[0].numel() % _VECTORS == 0


class Adding:
    """x + layers(x)."""

    def forward(self, way: Forward, node: Residual, h: Flow) -> tuple[Flow, list[Any]]:
        """Keeps what its layers keep."""
        inner, kept = way.through(node.layers, Flow(h.values))
        out = inner.values.add_(h.values) if inner.is_free else h.values + inner.values
        return Flow(out, is_free=True), kept

    def backward(self, way: Backward, node: Residual, kept: list[Any], delta: Flow, *, needed: bool) -> Flow | None:
        """What comes back through its layers, added to what it is given."""
        delta = way.each(node, delta)
        inner = way.through(node.layers, kept, Flow(delta.values), needed=needed)
        if inner is None:
            return None
        out = inner.values.add_(delta.values) if inner.is_free else torch.add(delta.values, inner.values)
        return Flow(out, is_free=True)


OPERATIONS: Operations = {
    Linear: LinearMap(),
    Conv: Convolution(),
    Activated: Bending(),
    Norm: Normalising(),
    Pool: Pooling(),
    Flatten: Flattening(),
    Residual: Adding(),
    Attention: Attending(),
    Embedding: Embedded(),
    Positions: Placed(),
    Readout: ReadingOut(),
}
"""Kind of a layer -> what it computes."""
