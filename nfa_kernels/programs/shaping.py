"""Layers that gather, spread or reshape: pools, readouts, flattening, tables of embeddings and positions."""

from torch import Tensor

from nfa_kernels.graphs.nodes import Embedding, Flatten, Node, Pool, Positions, Readout
from nfa_kernels.programs.passing import Backward, Flow, Forward, columns_of


class Flattening:
    """A sample as one vector: of an image channel by channel, of tokens one behind the other."""

    def forward(self, way: Forward, node: Flatten, h: Flow) -> tuple[Flow, None]:
        """Keeps nothing."""
        return Flow(_flat(h.values) if len(node.inputs) == 2 else h.values.flatten(1, -2)), None

    def backward(self, way: Backward, node: Flatten, kept: None, delta: Flow, *, needed: bool) -> Flow | None:
        """The same numbers."""
        values, is_same = _unsloped(way, node, delta)
        tokens = len(node.inputs) == 2
        return Flow(_tokens(values, node.inputs[0]) if tokens else values.unflatten(1, node.inputs), is_same=is_same)


def _unsloped(way: Backward, node: Node, delta: Flow) -> tuple[Tensor, bool]:
    """What comes back, and whether all samples have it; with slopes each has its own."""
    delta = delta if delta.slopes is None else way.each(node, delta)
    return delta.values, delta.is_same


def _flat(tokens: Tensor) -> Tensor:
    """(K, t d, N) of tokens (K, d, N, t)."""
    return tokens.permute(0, 3, 1, 2).flatten(1, 2)


def _tokens(flat: Tensor, tokens: int) -> Tensor:
    """(K, d, N, t) of (K, t d, N)."""
    return flat.unflatten(1, (tokens, -1)).permute(0, 2, 3, 1).contiguous()


class Pooling:
    """The average or maximum of squares; the first of equal maxima has the derivative."""

    def forward(self, way: Forward, node: Pool, h: Flow) -> tuple[Flow, Tensor | None]:
        """Keeps where maxima are."""
        windows = _windows(node, h.values)
        if node.kind == "average":
            out, where = windows.mean((3, 5)), None
        else:
            out, where = windows.movedim(4, 3).flatten(4, 5).max(4)
        return Flow(out[:, :, 0, 0] if node.size is None else out), where

    def backward(self, way: Backward, node: Pool, kept: Tensor | None, delta: Flow, *, needed: bool) -> Flow | None:
        """Spread over the squares, or to their maxima."""
        values, is_same = _unsloped(way, node, delta if kept is None else way.each(node, delta))
        if node.size is None:
            values = values[:, :, None, None]
        (high, wide), samples = _sides(node), values.shape[-1]
        if kept is None:
            spread = (values / (high * wide))[:, :, :, None, :, None]
            if node.size is None:
                return Flow(spread[:, :, 0, :, 0].expand(-1, -1, *node.inputs[1:], -1), is_same=is_same)
        else:
            where = kept.repeat(1, 1, 1, 1, samples // kept.shape[-1]).unsqueeze(4)
            square = values.new_zeros(*values.shape[:4], high * wide, samples)
            square.scatter_(4, where, values.unsqueeze(4))
            spread = square.unflatten(4, (high, wide)).movedim(3, 4)
        below = values.new_zeros(*values.shape[:2], *node.inputs[1:], samples)
        _windows(node, below).copy_(spread)
        return Flow(below, is_free=True, is_same=is_same)


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
        rows = h.values.long().flatten(1).unsqueeze(1)
        found = table.mT.contiguous().gather(2, rows.expand(-1, table.shape[2], -1))
        return Flow(found.unflatten(2, h.values.shape[1:]), is_free=True), rows

    def backward(self, way: Backward, node: Embedding, kept: Tensor, delta: Flow, *, needed: bool) -> Flow | None:
        """Sums over the tokens of each number; names have no derivative."""
        if way.is_training:
            table, of_rows = way.parameter(node, 0), columns_of(delta.values)
            sums = of_rows.new_zeros(len(table), table.shape[2], table.shape[1])
            way.told(node, 0, sums.scatter_add_(2, kept.expand_as(of_rows), of_rows).mT)
        return None


class Placed:
    """A learned vector for each place, added."""

    def forward(self, way: Forward, node: Positions, h: Flow) -> tuple[Flow, None]:
        """Keeps nothing."""
        vectors = way.parameter(node, 0).mT.unsqueeze(2)
        return Flow(h.values.add_(vectors) if h.is_free else h.values + vectors, is_free=True), None

    def backward(self, way: Backward, node: Positions, kept: None, delta: Flow, *, needed: bool) -> Flow | None:
        """The same numbers."""
        if way.is_training:
            way.told(node, 0, delta.values.sum(2).mT)
        return delta if delta.slopes is None else way.each(node, delta)


class ReadingOut:
    """Tokens as one vector."""

    def forward(self, way: Forward, node: Readout, h: Flow) -> tuple[Flow, None]:
        """Keeps nothing."""
        if node.kind == "flatten":
            return Flow(_flat(h.values)), None
        return Flow(h.values.mean(3) if node.kind == "mean" else h.values[..., -1]), None

    def backward(self, way: Backward, node: Readout, kept: None, delta: Flow, *, needed: bool) -> Flow | None:
        """Spread over the tokens."""
        (values, is_same), tokens = _unsloped(way, node, delta), node.inputs[0]
        if node.kind == "flatten":
            return Flow(_tokens(values, tokens), is_same=is_same)
        if node.kind == "mean":
            return Flow((values / tokens).unsqueeze(3).expand(-1, -1, -1, tokens), is_same=is_same)
        below = values.new_zeros(*values.shape, tokens)
        below[..., -1] = values
        return Flow(below, is_free=True, is_same=is_same)
