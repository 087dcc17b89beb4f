"""Layers with their shapes, parameters and measured matrices: what a graph consists of once it has been read.

A shape is that of one sample: (d,) a vector, (c, h, w) an image, (t, d) tokens, and (t,) numbers of tokens before
their embedding. Parameters and measured layers are meant by their places in the graph's own tuples.
"""

from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
Role = Literal["weight", "bias", "gain", "embedding", "position"]


_UNFOLDED_WHOLE = 32
"""Numbers in a patch up to which it is unfolded whole."""


@dataclass(frozen=True)
class Parameter:
    """An array that is trained."""

    name: str
    """Its layer's name, a dot, and weight or bias: c1.weight."""
    shape: Shape
    """As torch's own modules have it: (out, in), a kernel (out, c, k, k), a bias or gain (width,)."""
    role: Role
    fan_in: int
    fan_out: int
    stream: str = ""
    """Purpose of the random stream it is drawn from; empty for what begins as a constant."""

    @property
    def matrix(self) -> tuple[int, int]:
        """(rows, columns) in which it is stacked: a kernel (out, c k k), a vector (width, 1)."""
        rows = self.shape[0]
        return rows, self.size // rows

    @property
    def size(self) -> int:
        """Number of its elements."""
        size = 1
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Measured:
    """A matrix W (out, in) that is applied at one or more positions of a sample."""

    number: int
    """From 1, in forward order."""
    name: str
    outputs: int
    inputs: int
    positions: int
    """P >= 1: tokens, or places of a kernel on the image."""
    parameter: int
    """Place of W among the graph's parameters."""
    above: int
    """Measured layers from this one to the output, both counted, on the longest path: the theory's exponent is 1/it."""
    has_residual: bool
    """Whether a theorem says that W^T W is G^a, not merely proportional to it."""
    next: int | None
    """Number of the map that reads this one's outputs through nothing, or an activation alone: their balance is kept
    by gradient flow."""


@dataclass(frozen=True)
class Node:
    """A layer; what all of them have."""

    path: str
    inputs: Shape
    outputs: Shape
    parameters: tuple[int, ...] = ()
    """Places of its parameters in the graph's."""
    measured: tuple[int, ...] = ()
    """Numbers of its measured matrices."""


@dataclass(frozen=True)
class Linear(Node):
    """h W^T + b at every position."""

    bias: bool = False


@dataclass(frozen=True)
class Conv(Node):
    """A square kernel moved over an image in two directions."""

    kernel: int = 1
    stride: int = 1
    before: int = 0
    """Rows and columns of zeros above and left of the image."""
    after: int = 0
    """Below and right of it."""
    bias: bool = False

    @property
    def unfolds_rows(self) -> bool:
        """Whether patches are unfolded along rows alone, not whole: of few numbers products would be too short."""
        return self.stride == 1 and self.kernel > 1 and self.inputs[0] * self.kernel**2 > _UNFOLDED_WHOLE


@dataclass(frozen=True)
class Activated(Node):
    """An activation, elementwise."""

    activation: str = "linear"
    slope: float = 0.1


@dataclass(frozen=True)
class Norm(Node):
    """Layer, root mean square or group normalisation of each sample, of tokens each token, then gains and biases."""

    kind: str = "layer"
    groups: int = 1
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Pool(Node):
    """The average or maximum of squares of an image that do not overlap; rows and columns left over are dropped."""

    kind: str = "average"
    size: int | None = None
    """Side of a square; None for the whole image."""


@dataclass(frozen=True)
class Flatten(Node):
    """A sample as one vector."""


@dataclass(frozen=True)
class Residual(Node):
    """x + layers(x)."""

    layers: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Attention(Node):
    """Scaled dot products of heads; maps query, key, value and output, each (d, d)."""

    heads: int = 1
    causal: bool = False
    bias: bool = False


@dataclass(frozen=True)
class Embedding(Node):
    """A row of a table for each token's number."""


@dataclass(frozen=True)
class Positions(Node):
    """A learned vector for each place of a sequence, added."""


@dataclass(frozen=True)
class Readout(Node):
    """Tokens as one vector: their mean, the last one, or all of them."""

    kind: str = "mean"
