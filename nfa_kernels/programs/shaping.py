"""Layers that gather, spread or reshape: pools, readouts, flattening, tables of embeddings and positions."""

import torch
from torch import Tensor

from nfa_kernels.graphs.nodes import Embedding, Flatten, Pool, Positions, Readout
from nfa_kernels.programs.passing import Backward, Flow, Forward


class Flattening:
    """A sample as one vector; an image's samples go back to the front."""

    def forward(self, way: Forward, node: Flatten, h: Flow) -> tuple[Flow, None]:
        """Keeps nothing."""
        values = h.values.movedim(-1, 1) if len(node.inputs) == 3 else h.values
        return Flow(values.flatten(2)), None

    def backward(self, way: Backward, node: Flatten, kept: None, delta: Flow, *, needed: bool) -> Flow | None:
        """The same numbers."""
        values = delta.values.unflatten(2, node.inputs)
        return Flow(values.movedim(1, -1).contiguous() if len(node.inputs) == 3 else values)


class Pooling:
    """The average or maximum of squares; the first of equal maxima has the derivative."""

    def forward(self, way: Forward, node: Pool, h: Flow) -> tuple[Flow, Tensor | None]:
        """Keeps where maxima are."""
        windows = _windows(node, h.values)
        if node.kind == "average":
            out, where = windows.mean((3, 5)), None
        else:
            out, where = windows.movedim(4, 3).flatten(4, 5).max(4)
        return Flow(out[:, :, 0, 0].mT if node.size is None else out), where

    def backward(self, way: Backward, node: Pool, kept: Tensor | None, delta: Flow, *, needed: bool) -> Flow | None:
        """Spread over the squares, or to their maxima."""
        values = delta.values.mT[:, :, None, None] if node.size is None else delta.values
        (high, wide), samples = _sides(node), values.shape[-1]
        if kept is None:
            spread = (values / (high * wide))[:, :, :, None, :, None]
            if node.size is None:
                return Flow(spread[:, :, 0, :, 0].expand(-1, -1, *node.inputs[1:], -1))
        else:
            where = kept.repeat(1, 1, 1, 1, samples // kept.shape[-1]).unsqueeze(4)
            square = values.new_zeros(*values.shape[:4], high * wide, samples)
            square.scatter_(4, where, values.unsqueeze(4))
            spread = square.unflatten(4, (high, wide)).movedim(3, 4)
        below = values.new_zeros(*values.shape[:2], *node.inputs[1:], samples)
        _windows(node, below).copy_(spread)
        return Flow(below, is_free=True)


def _sides(node: Pool) -> tuple[int, int]:
    return (node.inputs[1], node.inputs[2]) if node.size is None else (node.size, node.size)


def _windows(node: Pool, h: Tensor) -> Tensor:
    """(K, c, h', height, w', width, N) squares of an image (K, c, h, w, N), without rows and columns left over."""
    high, wide = _sides(node)
    used = h[:, :, : h.shape[2] // high * high, : h.shape[3] // wide * wide]
    return used.unflatten(3, (-1, wide)).unflatten(2, (-1, high))


class Embedded:
    """A row of a table for each token's number."""

    def forward(self, way: Forward, node: Embedding, h: Flow) -> tuple[Flow, Tensor]:
        """Keeps the rows' numbers."""
        table = way.parameter(node, 0)
        # gather, unlike an index into all tables laid end to end, cannot read another network's
        rows = h.values.long().flatten(1).unsqueeze(-1)
        found = table.gather(1, rows.expand(-1, -1, table.shape[2]))
        return Flow(found.unflatten(1, h.values.shape[1:]), is_free=True), rows

    def backward(self, way: Backward, node: Embedding, kept: Tensor, delta: Flow, *, needed: bool) -> Flow | None:
        """Sums over the tokens of each number; names have no derivative."""
        if way.is_training:
            table, of_rows = way.parameter(node, 0), delta.values.flatten(1, 2)
            way.told(node, 0, torch.zeros_like(table).scatter_add_(1, kept.expand_as(of_rows), of_rows))
        return None


class Placed:
    """A learned vector for each place, added."""

    def forward(self, way: Forward, node: Positions, h: Flow) -> tuple[Flow, None]:
        """Keeps nothing."""
        vectors = way.parameter(node, 0).unsqueeze(1)
        return Flow(h.values.add_(vectors) if h.is_free else h.values + vectors, is_free=True), None

    def backward(self, way: Backward, node: Positions, kept: None, delta: Flow, *, needed: bool) -> Flow | None:
        """The same numbers."""
        if way.is_training:
            way.told(node, 0, delta.values.sum(1))
        return delta


class ReadingOut:
    """Tokens as one vector."""

    def forward(self, way: Forward, node: Readout, h: Flow) -> tuple[Flow, None]:
        """Keeps nothing."""
        if node.kind == "flatten":
            return Flow(h.values.flatten(2)), None
        return Flow(h.values.mean(2) if node.kind == "mean" else h.values[:, :, -1]), None

    def backward(self, way: Backward, node: Readout, kept: None, delta: Flow, *, needed: bool) -> Flow | None:
        """Spread over the tokens."""
        values, tokens = delta.values, node.inputs[0]
        if node.kind == "flatten":
            return Flow(values.unflatten(2, node.inputs))
        if node.kind == "mean":
            return Flow((values / tokens).unsqueeze(2).expand(-1, -1, tokens, -1))
        below = values.new_zeros(*values.shape[:2], *node.inputs)
        below[:, :, -1] = values
        return Flow(below, is_free=True)
