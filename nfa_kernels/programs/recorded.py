"""What each layer of a graph computes, by torch's own operations, which record themselves: for second derivatives.

Training and measuring go other ways, `operations`, whose numbers are the same up to rounding. What flows is (K, N, ..)
with a sample's shape behind: every product is batched over K, every other operation acts on single numbers, tokens or
samples. So no network's numbers depend on its neighbours'.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nfa_kernels.activations import activation
from nfa_kernels.graphs.nodes import (
    Activated,
    Attention,
    Conv,
    Embedding,
    Flatten,
    Linear,
    Node,
    Norm,
    Pool,
    Positions,
    Readout,
    Residual,
)
from nfa_kernels.programs.program import Params
from nfa_kernels.taped import twice_differentiable


class Pass:
    """One pass through a graph: the parameters, and the pre-activations z = W h that are asked for.

    Args:
        params: of the stack, as the network computes with them.
        tapped: numbers of the measured layers whose z is asked for.
        attention_power: scores are divided by this power of a head's width.
    """

    def __init__(self, params: Params, tapped: Collection[int] = (), attention_power: float = 0.5) -> None:
        self._params, self._tapped, self.attention_power = params, tapped, attention_power
        self.taps: dict[int, Tensor] = {}
        """Number of a measured layer -> its z, a tensor of the graph of derivatives."""

    def through(self, nodes: tuple[Node, ...], x: Tensor) -> Tensor:
        """The output of the last of these layers."""
        for node in nodes:
            x = OPERATIONS[type(node)](self, node, x)
        return x

    def parameter(self, node: Node, index: int) -> Tensor:
        """(K, rows, columns) the index-th parameter of a layer."""
        return self._params[node.parameters[index]]

    def tap(self, number: int, z: Tensor) -> Tensor:
        """Keep z for derivatives if its layer is asked for; derivatives begin at the first that is."""
        if number not in self._tapped:
            return z
        if not z.requires_grad:
            z = z.detach().requires_grad_()
        self.taps[number] = z
        return z


def _per_feature(vector: Tensor, x: Tensor, axis: int) -> Tensor:
    """A stack of vectors (K, d, 1) in the shape that acts on axis `axis` of x (K, N, ..)."""
    shape = [1] * x.ndim
    shape[0], shape[axis] = vector.shape[:2]
    return vector.reshape(shape)


def _mapped(weight: Tensor, h: Tensor) -> Tensor:
    """h W^T (K, N, .., out) of h (K, N, .., in) and W (K, out, in), at every position."""
    return torch.bmm(h.flatten(1, -2), weight.mT).unflatten(1, h.shape[1:-1])


def _linear(run: Pass, node: Linear, h: Tensor) -> Tensor:
    z = run.tap(node.measured[0], _mapped(run.parameter(node, 0), h))
    return z + _per_feature(run.parameter(node, 1), z, -1) if node.bias else z


def _conv(run: Pass, node: Conv, h: Tensor) -> Tensor:
    z = run.tap(node.measured[0], convolved(node, run.parameter(node, 0), h))
    return z + _per_feature(run.parameter(node, 1), z, 2) if node.bias else z


def convolved(node: Conv, weight: Tensor, h: Tensor) -> Tensor:
    """W at every patch: (K, N, out, h', w') of h (K, N, c, h, w) and W (K, out, c k k).

    One convolution with a group for each network. A kernel of a single pixel is a product.
    """
    if node.kernel == node.stride == 1:
        return _mapped(weight, h.movedim(2, -1)).movedim(-1, 2)
    stack, channels = len(weight), node.inputs[0]
    if node.before or node.after:
        h = functional.pad(h, (node.before, node.after, node.before, node.after))
    grouped = h.transpose(0, 1).flatten(1, 2)
    kernels = weight.reshape(-1, channels, node.kernel, node.kernel)
    z = functional.conv2d(grouped, kernels, stride=node.stride, groups=stack)
    return z.unflatten(1, (stack, -1)).transpose(0, 1)


def _activated(run: Pass, node: Activated, h: Tensor) -> Tensor:
    return twice_differentiable(h, activation(node.activation, node.slope))


def _norm(run: Pass, node: Norm, h: Tensor) -> Tensor:
    axis = 2 if len(node.inputs) == 3 else -1
    # groups of the features of an image with all its pixels, of a token or vector with its features alone
    grouped = h.unflatten(axis, (node.groups, -1))
    grouped = grouped.flatten(3) if axis == 2 else grouped
    if node.kind == "rms":
        scaled = grouped * torch.rsqrt(grouped.square().mean(-1, keepdim=True) + node.epsilon)
    else:
        scaled = functional.layer_norm(grouped, grouped.shape[-1:], eps=node.epsilon)
    scaled = scaled.reshape(h.shape) * _per_feature(run.parameter(node, 0), h, axis)
    return scaled if node.kind == "rms" else scaled + _per_feature(run.parameter(node, 1), h, axis)


def _pool(run: Pass, node: Pool, h: Tensor) -> Tensor:
    if node.size is None:
        pixels = h.flatten(3)
        return pixels.mean(-1) if node.kind == "average" else pixels.max(-1).values
    pooled = functional.avg_pool2d if node.kind == "average" else functional.max_pool2d
    return pooled(h.flatten(0, 1), node.size).unflatten(0, h.shape[:2])


def _flatten(run: Pass, node: Flatten, h: Tensor) -> Tensor:
    return h.flatten(2)


def _residual(run: Pass, node: Residual, h: Tensor) -> Tensor:
    return h + run.through(node.layers, h)


def _attention(run: Pass, node: Attention, h: Tensor) -> Tensor:
    tokens, width = node.inputs
    step = 2 if node.bias else 1

    def of(index: int, h: Tensor) -> Tensor:
        z = run.tap(node.measured[index], _mapped(run.parameter(node, step * index), h))
        return z + _per_feature(run.parameter(node, step * index + 1), z, -1) if node.bias else z

    query, key, value = (of(index, h).unflatten(-1, (node.heads, -1)).transpose(2, 3) for index in range(3))
    # scaled before the product: queries are fewer than scores
    scores = (query * (width // node.heads) ** -run.attention_power) @ key.mT
    if node.causal:
        later = torch.ones(tokens, tokens, dtype=torch.bool, device=h.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return of(3, (scores.softmax(-1) @ value).transpose(2, 3).flatten(3))


def _embedding(run: Pass, node: Embedding, h: Tensor) -> Tensor:
    table = run.parameter(node, 0)
    # gather, unlike an index into all tables laid end to end, cannot read another network's
    rows = h.long().flatten(1).unsqueeze(-1).expand(-1, -1, table.shape[2])
    return table.gather(1, rows).unflatten(1, h.shape[1:])


def _positions(run: Pass, node: Positions, h: Tensor) -> Tensor:
    return h + run.parameter(node, 0).unsqueeze(1)


def _readout(run: Pass, node: Readout, h: Tensor) -> Tensor:
    if node.kind == "flatten":
        return h.flatten(2)
    return h.mean(2) if node.kind == "mean" else h[:, :, -1]


OPERATIONS: dict[type[Node], Callable[[Pass, Any, Tensor], Tensor]] = {
    Linear: _linear,
    Conv: _conv,
    Activated: _activated,
    Norm: _norm,
    Pool: _pool,
    Flatten: _flatten,
    Residual: _residual,
    Attention: _attention,
    Embedding: _embedding,
    Positions: _positions,
    Readout: _readout,
}
"""Kind of a layer -> (the pass, the layer, what enters it) -> what leaves it."""
