"""Ways through a graph for all networks of a stack at once: forward, and back from the outputs.

What flows has its features behind K: vectors (K, d, N), images (K, c, h, w, N), tokens (K, d, N, t), numbers of tokens
(K, N, t). So a map is one product for all positions, and patches are copied in long runs. On the way back R >= 1
derivatives per sample go together, as R N samples. Every product is batched over K, every other operation acts on
single numbers, tokens or samples: no network's numbers depend on its neighbours'.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import Node, Residual, Shape
from nfa_kernels.programs.program import Params


class Flow(NamedTuple):
    """What flows between two layers."""

    values: Tensor
    is_free: bool = False
    """Whether nobody else reads it, so that the next layer may write over it."""
    is_same: bool = False
    """On the way back: whether all samples have these derivatives, of which `values` are those of one sample."""
    slopes: Tensor | None = None
    """Where all have: what the derivatives of each of N samples are still to be multiplied by, with N for R."""


class Operation(Protocol):
    """What a kind of layer computes. A layer is `node`; what its `forward` keeps, its `backward` is given."""

    def forward(self, way: "Forward", node: Any, h: Flow) -> tuple[Flow, Any]:
        """What leaves the layer, and what its way back reads."""
        ...

    def backward(self, way: "Backward", node: Any, kept: Any, delta: Flow, *, needed: bool) -> Flow | None:
        """The derivative with respect to what enters the layer, if it is needed; those of its parameters are told."""
        ...


Operations = Mapping[type[Node], Operation]
Kept = list[Any]
"""What each of some layers keeps."""


class Way:
    """The parameters, and what every kind of layer computes."""

    def __init__(self, operations: Operations, params: Params, attention_power: float) -> None:
        self.operations, self.params = operations, params
        self.attention_power = attention_power
        """Scores are divided by this power of a head's width."""

    def parameter(self, node: Node, index: int) -> Tensor:
        """(K, rows, columns) the index-th parameter of a layer."""
        return self.params[node.parameters[index]]


class Forward(Way):
    """One pass forward."""

    def __init__(self, operations: Operations, params: Params, attention_power: float, *, keeps: bool) -> None:
        super().__init__(operations, params, attention_power)
        self.keeps = keeps
        """Whether a way back follows."""

    def through(self, nodes: tuple[Node, ...], h: Flow) -> tuple[Flow, Kept]:
        """The output of the last of these layers, and what each of them keeps."""
        kept: Kept = []
        for node in nodes:
            h, own = self.operations[type(node)].forward(self, node, h)
            if self.keeps:
                kept.append(own)
        return h, kept


class Backward(Way):
    """One pass back from derivatives with respect to the outputs."""

    def __init__(
        self,
        operations: Operations,
        params: Params,
        attention_power: float,
        wanted: Collection[str],
        tapped: Collection[int] = (),
        samples: int = 0,
    ) -> None:
        super().__init__(operations, params, attention_power)
        self._wanted, self._tapped, self._samples = wanted, tapped, samples
        self.is_training = not tapped
        self.gradients: dict[int, Tensor] = {}
        """Place of a parameter -> the gradient with respect to it; none where layers are tapped."""
        self.taps: dict[int, Tensor] = {}
        """Number of a tapped layer -> derivatives (K, R N P, out) with respect to its z = W h."""

    def through(self, nodes: tuple[Node, ...], kept: Kept, delta: Flow, *, needed: bool) -> Flow | None:
        """The derivative with respect to what enters the first of these layers, if it is needed.

        While training, what is kept is let go of as soon as it has been read.
        """
        is_needed, below = [], needed
        for node in nodes:
            is_needed.append(below)
            below = below or node.path in self._wanted
        for place in range(len(nodes) - 1, -1, -1):
            node, own = nodes[place], kept[place]
            if not is_needed[place] and node.path not in self._wanted:
                return None
            if self.is_training:
                kept[place] = None
            found = self.operations[type(node)].backward(self, node, own, delta, needed=is_needed[place])
            if found is None:
                return None
            delta = found
        return delta

    def told(self, node: Node, index: int, gradient: Tensor) -> None:
        """The gradient with respect to the index-th parameter of a layer."""
        self.gradients[node.parameters[index]] = gradient

    def taps_at(self, number: int) -> bool:
        """Whether derivatives with respect to a measured layer's z are asked for."""
        return number in self._tapped

    def tap(self, number: int, delta: Tensor, *, is_same: bool = False) -> None:
        """Keep derivatives (K, out, R N P) with respect to a measured layer's z if they are asked for.

        Of N samples that all have the same, the sum of outer products is that of one times sqrt(N).
        """
        if number in self._tapped:
            self.taps[number] = (delta * self._samples**0.5 if is_same else delta).mT

    def each(self, node: Node, delta: Flow) -> Flow:
        """Derivatives of each sample with respect to what leaves a layer, also from those that all samples have."""
        if not delta.is_same:
            return delta
        axis = sample_axis(node.outputs)
        at = axis if axis < 0 else axis + 1
        values = delta.values.unsqueeze(at)
        if delta.slopes is None:
            sizes = [-1] * values.ndim
            sizes[at] = self._samples
            each = values.expand(sizes)
        else:
            each = values * delta.slopes.unsqueeze(axis - 1 if axis < 0 else axis)
        # without slopes the samples of one output may still be one sample's numbers in memory
        is_free = delta.slopes is not None
        return Flow(each.flatten(axis, at) if axis > 0 else each.flatten(-2), is_free=is_free)


def wanted(graph: Graph, tapped: Collection[int] | None = None) -> frozenset[str]:
    """Paths of the layers that a way back must reach: with parameters, or with a tapped map in them."""
    found: set[str] = set()

    def visit(nodes: tuple[Node, ...]) -> bool:
        reached = False
        for node in nodes:
            own = bool(node.parameters) if tapped is None else not set(node.measured).isdisjoint(tapped)
            inner = isinstance(node, Residual) and visit(node.layers)
            if own or inner:
                found.add(node.path)
                reached = True
        return reached

    visit(graph.nodes)
    return frozenset(found)


def entering(graph: Graph, x: Tensor) -> Flow:
    """Inputs (K, N, ..) as they flow."""
    if graph.input.vocabulary:
        return Flow(x)
    return Flow(x.movedim(-1, 1) if len(graph.input.shape) == 2 else x.movedim(1, -1).contiguous())


def product(left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
    """left @ right (K, m, n), plus what is added, with the longer of its sides in one run of memory.

    In float64 products whose runs are short take up to twice as long.
    """
    if left.shape[1] <= right.shape[2]:
        return torch.bmm(left, right) if added is None else torch.baddbmm(added, left, right)
    turned = right.mT, left.mT
    return (torch.bmm(*turned) if added is None else torch.baddbmm(added.mT, *turned)).mT


def sample_axis(shape: Shape) -> int:
    """Where the samples of what flows are."""
    return 2 if len(shape) == 2 else -1


def times(delta: Flow, kept: Tensor, axis: int) -> Tensor:
    """Derivatives of R N samples times a number of each of N samples, written over them where they are free."""
    values = delta.values
    if values.shape == kept.shape:
        return values.mul_(kept) if delta.is_free else values * kept
    each, kept = values.unflatten(axis, (-1, kept.shape[axis])), kept.unsqueeze(axis if axis > 0 else axis - 1)
    repeated = each.mul_(kept) if delta.is_free else each * kept
    return repeated.flatten(axis, axis + 1) if axis > 0 else repeated.flatten(-2)


def columns_of(values: Tensor) -> Tensor:
    """(K, d, N P) vectors at all positions of all samples."""
    return values.flatten(2)


def per_feature(vector: Tensor, values: Tensor) -> Tensor:
    """A stack of vectors (K, d, 1) in the shape that acts on the features of what flows."""
    return vector.view(*vector.shape[:2], *[1] * (values.ndim - 2))


def summed(values: Tensor) -> Tensor:
    """(K, d, 1) sums over all but the features."""
    return columns_of(values).sum(-1, keepdim=True)
