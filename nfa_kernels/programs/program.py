"""What training and measuring need of a network, whatever its kind."""

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from nfa_kernels.graphs.nodes import Measured, Parameter
from nfa_kernels.losses import Loss

Params = tuple[Tensor, ...]
"""Parameters of a stack, each (K, rows, columns) as `Parameter.matrix` says, in the program's order."""


class Tapped(NamedTuple):
    """What one pass over the samples, forward and back, finds."""

    outputs: Tensor
    """(K, N, C) f(x)."""
    factors: dict[int, Tensor]
    """Number of a measured layer -> factor P (K, R, out): P^T P = mean over samples of the sum over positions of
    (df/dz)^T (df/dz), z = W h. P W is a factor of the layer's AGOP."""


class Program(Protocol):
    """A stack's arithmetic. Inputs x are (K, N, ..), targets (K, N, C); arguments are never changed."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What is trained, in the order of `Params`."""
        ...

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The matrices that metrics are about, in forward order."""
        ...

    def initial(
        self, scheme: str, seed: int, scale: float = 1.0, *, first: float = 1.0, last: float = 1.0
    ) -> list[Tensor]:
        """Parameters of one network before its first step, each (rows, columns), float64, on the CPU."""
        ...

    def given(self, arrays: Mapping[str, object], scale: float = 1.0) -> list[Tensor]:
        """The same from arrays by name, each in its own shape."""
        ...

    def weight(self, params: Params, layer: int) -> Tensor:
        """(K, out, in) W of a measured layer."""
        ...

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C)."""
        ...

    def gradients_and_loss(self, params: Params, x: Tensor, y: Tensor, loss: Loss) -> tuple[Params, Tensor]:
        """Gradients of the data loss in the parameters' shapes, and the loss (K,)."""
        ...

    def tapped(self, params: Params, x: Tensor, layers: Collection[int]) -> Tapped:
        """Outputs, and factors at measured layers by number."""
        ...
