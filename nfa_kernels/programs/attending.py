"""Scaled dot products of heads, with maps of queries, keys, values and outputs."""

from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.graphs.nodes import Attention
from nfa_kernels.programs.maps import mapped
from nfa_kernels.programs.passing import Backward, Flow, Forward, Way, rows_of


class _Kept(NamedTuple):
    """What the way back reads; S is K N heads, e the width of a head."""

    rows: Tensor
    """(K, N T, d) what entered."""
    query: Tensor
    """(S, T, e), scaled; key and value likewise."""
    key: Tensor
    value: Tensor
    weights: Tensor
    """(S, T, T) of the values, rows of sum one."""
    found: Tensor
    """(S, T, e) the weighted values."""
    merged: Tensor
    """(K, N T, d) the same, what enters the output map."""


class Attending:
    """The maps of queries, keys and values are one product, the scale in the queries' matrix."""

    def forward(self, way: Forward, node: Attention, h: Flow) -> tuple[Flow, _Kept]:
        """Keeps the weights and both sides of every product."""
        tokens, _ = node.inputs
        rows = rows_of(h.values)
        matrix, bias = _of_three(way, node)
        query, key, value = _by_head(node, mapped(rows, matrix, bias))
        scores = torch.bmm(query, key.mT)
        if node.causal:
            later = torch.ones(tokens, tokens, dtype=torch.bool, device=scores.device).triu_(1)
            scores.masked_fill_(later, -torch.inf)
        weights = torch.softmax(scores, -1)
        found = torch.bmm(weights, value)
        merged = _merged(node, len(rows), found)
        z = mapped(merged, *_output(way, node))
        kept = _Kept(rows, query, key, value, weights, found, merged)
        return Flow(z.unflatten(1, h.values.shape[1:-1]), is_free=True), kept

    def backward(self, way: Backward, node: Attention, kept: _Kept, delta: Flow, *, needed: bool) -> Flow | None:
        """Back through the output map, the weighted sums and the three maps."""
        of_z = rows_of(delta.values)
        way.tap(node.measured[3], of_z)
        step = 2 if node.bias else 1
        if way.is_training:
            way.told(node, 3 * step, torch.bmm(of_z.mT, kept.merged))
            if node.bias:
                way.told(node, 3 * step + 1, of_z.sum(1).unsqueeze(-1))
        parts = torch.bmm(of_z, _output(way, node)[0]).split(kept.rows.shape[1], 1)
        of_three = [_of_products(node, kept, part) for part in parts]
        of_maps = of_three[0] if len(of_three) == 1 else torch.cat(of_three, 1)
        self._tell(way, node, kept, of_maps)
        if not needed:
            return None
        below = torch.bmm(of_maps, _of_three(way, node)[0])
        return Flow(below.unflatten(1, delta.values.shape[1:-1]), is_free=True)

    def _tell(self, way: Backward, node: Attention, kept: _Kept, of_maps: Tensor) -> None:
        """Gradients and taps of the three maps, from derivatives (K, R N T, 3 d) with respect to their scaled z."""
        step, width, scale = 2 if node.bias else 1, node.inputs[1], _scale(way, node)
        if not way.is_training:
            for index, part in enumerate(of_maps.split(width, -1)):
                way.tap(node.measured[index], part if index else part * scale)
            return
        for index, part in enumerate(torch.bmm(of_maps.mT, kept.rows).split(width, 1)):
            way.told(node, step * index, part if index else part * scale)
        if node.bias:
            for index, part in enumerate(of_maps.sum(1).unsqueeze(-1).split(width, 1)):
                way.told(node, step * index + 1, part if index else part * scale)


def _scale(way: Way, node: Attention) -> float:
    return (node.inputs[1] // node.heads) ** -way.attention_power


def _of_three(way: Way, node: Attention) -> tuple[Tensor, Tensor | None]:
    """W (K, 3 d, d) of queries, keys and values, one below the other, and b (K, 3 d, 1)."""
    step = 2 if node.bias else 1

    def stacked(offset: int) -> Tensor:
        query, key, value = (way.parameter(node, step * index + offset) for index in range(3))
        return torch.cat([query * _scale(way, node), key, value], 1)

    return stacked(0), stacked(1) if node.bias else None


def _output(way: Way, node: Attention) -> tuple[Tensor, Tensor | None]:
    step = 2 if node.bias else 1
    return way.parameter(node, 3 * step), way.parameter(node, 3 * step + 1) if node.bias else None


def _by_head(node: Attention, z: Tensor) -> tuple[Tensor, ...]:
    """(S, T, e) queries, keys and values of z (K, N T, 3 d)."""
    (tokens, width), heads = node.inputs, node.heads
    if heads == 1:
        return z.unflatten(1, (-1, tokens)).flatten(0, 1).split(width, -1)
    parts = z.unflatten(1, (-1, tokens)).unflatten(-1, (3, heads, -1))
    return parts.permute(3, 0, 1, 4, 2, 5).flatten(1, 3).unbind()


def _merged(node: Attention, stack: int, found: Tensor) -> Tensor:
    """(K, N T, d) of heads (S, T, e)."""
    if node.heads == 1:
        return found.unflatten(0, (stack, -1)).flatten(1, 2)
    return found.unflatten(0, (stack, -1, node.heads)).transpose(2, 3).flatten(3).flatten(1, 2)


def _of_products(node: Attention, kept: _Kept, of_merged: Tensor) -> Tensor:
    """(K, N T, 3 d) derivatives with respect to the three maps' scaled z, from those of what they make."""
    stack, heads, tokens = len(of_merged), node.heads, node.inputs[0]
    of_found = of_merged.unflatten(1, (-1, tokens))
    if heads == 1:
        of_found = of_found.flatten(0, 1)
    else:
        of_found = of_found.unflatten(-1, (heads, -1)).transpose(2, 3).flatten(0, 2)
    of_value = torch.bmm(kept.weights.mT, of_found)
    # sum over keys of weight times its derivative is what comes out times its own: fewer numbers to sum
    shared = (of_found * kept.found).sum(-1, keepdim=True)
    of_scores = torch.bmm(of_found, kept.value.mT).sub_(shared).mul_(kept.weights)
    parts = torch.bmm(of_scores, kept.key), torch.bmm(of_scores.mT, kept.query), of_value
    if heads == 1:
        return torch.cat(parts, -1).unflatten(0, (stack, -1)).flatten(1, 2)
    each = torch.stack(parts).unflatten(1, (stack, -1, heads))
    return each.permute(1, 2, 4, 0, 3, 5).flatten(3).flatten(1, 2)
