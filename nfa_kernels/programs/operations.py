"""What each kind of layer computes, forward and back, for all networks of a stack at once; see `passing`."""

from typing import Any

import torch
from torch import Tensor

from nfa_kernels.activations import activation
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
from nfa_kernels.programs.passing import Backward, Flow, Forward, Operations, times
from nfa_kernels.programs.shaping import Embedded, Flattening, Placed, Pooling, ReadingOut


class Bending:
    """An activation with the derivative that this package gives it, also at kinks and where formulas overflow."""

    def forward(self, way: Forward, node: Activated, h: Flow) -> tuple[Flow, Tensor | None]:
        """Keeps the derivative, which shares work with the value; or the value, where it says the derivative."""
        phi = activation(node.activation, node.slope)
        if phi.overwriting is not None:
            value = phi.overwriting(h.values) if h.is_free else phi.function(h.values)
            return Flow(value), value
        if not way.keeps:
            return Flow(phi.function(h.values)), None
        value, derivative = phi.with_derivative(h.values)
        return Flow(value), derivative

    def backward(self, way: Backward, node: Activated, kept: Tensor, delta: Flow, *, needed: bool) -> Flow | None:
        """Times the derivative."""
        phi, is_image = activation(node.activation, node.slope), len(node.inputs) == 3
        if phi.overwriting is None:
            return Flow(times(delta, kept, is_image=is_image), is_free=True)
        if phi.fused is not None and delta.is_free and delta.values.shape == kept.shape:
            return Flow(phi.fused(delta.values, kept), is_free=True)
        return Flow(times(delta, phi.derivative(kept), is_image=is_image), is_free=True)


class Adding:
    """x + layers(x)."""

    def forward(self, way: Forward, node: Residual, h: Flow) -> tuple[Flow, list[Any]]:
        """Keeps what its layers keep."""
        inner, kept = way.through(node.layers, Flow(h.values))
        out = inner.values.add_(h.values) if inner.is_free else h.values + inner.values
        return Flow(out, is_free=True), kept

    def backward(self, way: Backward, node: Residual, kept: list[Any], delta: Flow, *, needed: bool) -> Flow | None:
        """What comes back through its layers, added to what it is given."""
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
