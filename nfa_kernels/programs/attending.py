"""Scaled dot products of heads, with maps of queries, keys, values and outputs."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.graphs.nodes import Attention
from nfa_kernels.programs.passing import Backward, Flow, Forward, Way, columns_of, product, summed


class _Kept(NamedTuple):
    """What the way back reads; S is K N heads, e the width of a head, t the tokens."""

    entered: Tensor
    """(K, d, N t)."""
    query: Tensor
    """(S, e, t), scaled; key and value likewise."""
    key: Tensor
    value: Tensor
    weights: Tensor
    """(S, t, t) of the values, rows of sum one."""
    found: Tensor
    """(S, e, t) the weighted values."""
    merged: Tensor
    """(K, d, N t) the same, what enters the output map."""


class Attending:
    """The maps of queries, keys and values are one product, the scale in the queries' matrix."""

    def forward(self, way: Forward, node: Attention, h: Flow) -> tuple[Flow, _Kept]:
        """Keeps the weights and both sides of every product."""
        tokens, _ = node.inputs
        entered = columns_of(h.values)
        query, key, value = _by_head(node, product(*_of_three(way, node, entered)))
        scores = torch.bmm(query.mT, key)
        if node.causal:
            later = torch.ones(tokens, tokens, dtype=torch.bool, device=scores.device).triu_(1)
            scores.masked_fill_(later, -torch.inf)
        weights = torch.softmax(scores, -1)
        found = torch.bmm(value, weights.mT)
        merged = _merged(node, len(entered), found)
        weight, bias = _output(way, node)
        z = product(weight, merged, bias)
        kept = _Kept(entered, query, key, value, weights, found, merged)
        return Flow(z.unflatten(-1, h.values.shape[2:]), is_free=True), kept

    def backward(self, way: Backward, node: Attention, kept: _Kept, delta: Flow, *, needed: bool) -> Flow | None:
        """Back through the output map, the weighted sums and the three maps."""
        delta = way.each(node, delta)
        of_z = columns_of(delta.values)
        way.tap(node.measured[3], of_z)
        step = 2 if node.bias else 1
        if way.is_training:
            way.told(node, 3 * step, product(of_z, kept.merged.mT))
            if node.bias:
                way.told(node, 3 * step + 1, summed(of_z))
        asked = [index for index in range(3) if way.is_training or needed or way.taps_at(node.measured[index])]
        if not asked:
            return None
        parts = product(_output(way, node)[0].mT, of_z).split(kept.entered.shape[-1], -1)
        of_each = [_of_products(node, kept, part, asked) for part in parts]
        of_maps = of_each[0] if len(of_each) == 1 else torch.cat(of_each, -1)
        self._tell(way, node, kept, of_maps, asked)
        if not needed:
            return None
        below = product(_of_three(way, node, of_maps)[0].mT, of_maps)
        return Flow(below.unflatten(-1, delta.values.shape[2:]), is_free=True)

    def _tell(self, way: Backward, node: Attention, kept: _Kept, of_maps: Tensor, asked: Sequence[int]) -> None:
        """Gradients and taps of some of the three maps, from derivatives (K, .. d, R N t) for their scaled z."""
        step, width, scale = 2 if node.bias else 1, node.inputs[1], _scale(way, node)
        if not way.is_training:
            for index, part in zip(asked, of_maps.split(width, 1), strict=True):
                way.tap(node.measured[index], part if index else part * scale)
            return
        for index, part in enumerate(product(of_maps, kept.entered.mT).split(width, 1)):
            way.told(node, step * index, part if index else part * scale)
        if node.bias:
            for index, part in enumerate(summed(of_maps).split(width, 1)):
                way.told(node, step * index + 1, part if index else part * scale)


def _scale(way: Way, node: Attention) -> float:
    return (node.inputs[1] // node.heads) ** -way.attention_power


def _of_three(way: Way, node: Attention, entered: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """W (K, 3 d, d) of queries, keys and values, one below the other, what it is given, and b (K, 3 d, 1)."""
    step = 2 if node.bias else 1

    def stacked(offset: int) -> Tensor:
        query, key, value = (way.parameter(node, step * index + offset) for index in range(3))
        return torch.cat([query * _scale(way, node), key, value], 1)

    return stacked(0), entered, stacked(1) if node.bias else None


def _output(way: Way, node: Attention) -> tuple[Tensor, Tensor | None]:
    step = 2 if node.bias else 1
    return way.parameter(node, 3 * step), way.parameter(node, 3 * step + 1) if node.bias else None


def _by_head(node: Attention, z: Tensor) -> tuple[Tensor, ...]:
    """(S, e, t) queries, keys and values of z (K, 3 d, N t)."""
    parts = z.unflatten(-1, (-1, node.inputs[0])).unflatten(1, (3, node.heads, -1))
    return parts.permute(1, 0, 4, 2, 3, 5).flatten(1, 3).unbind()


def _merged(node: Attention, stack: int, found: Tensor) -> Tensor:
    """(K, d, N t) of heads (S, e, t)."""
    return found.unflatten(0, (stack, -1, node.heads)).permute(0, 2, 3, 1, 4).flatten(1, 2).flatten(2)


def _of_products(node: Attention, kept: _Kept, of_merged: Tensor, asked: Sequence[int]) -> Tensor:
    """(K, .. d, N t) derivatives for the scaled z of maps 0..2, those asked for, from those of what they make."""
    stack, heads, tokens = len(of_merged), node.heads, node.inputs[0]
    of_found = of_merged.unflatten(-1, (-1, tokens)).unflatten(1, (heads, -1)).permute(0, 3, 1, 2, 4).flatten(0, 2)
    factors = {2: (of_found, kept.weights)}
    if 0 in asked or 1 in asked:
        # the sum over keys of a weight times its derivative is what comes out times its own: fewer numbers to sum
        shared = (of_found * kept.found).sum(1).unsqueeze(-1)
        of_scores = torch.bmm(of_found.mT, kept.value).sub_(shared).mul_(kept.weights)
        factors |= {0: (kept.key, of_scores.mT), 1: (kept.query, of_scores)}
    samples = of_found.shape[0] // (stack * heads)
    each = of_found.new_empty(stack, len(asked) * heads, of_found.shape[1], samples, tokens)
    for place, index in enumerate(asked):
        whole = torch.bmm(*factors[index]).unflatten(0, (stack, -1, heads)).permute(0, 2, 3, 1, 4)
        each[:, place * heads : (place + 1) * heads] = whole
    return each.flatten(1, 2).flatten(2)
