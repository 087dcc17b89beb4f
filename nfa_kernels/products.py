"""Products of matrices and their gradients, through the thin side.

For A = W_L .. W_1 and E = dloss/dA (C, D), dloss/dW_l = (W_L .. W_{l+1})^T E (W_{l-1} .. W_1)^T has at most min(C, D)
columns to multiply through. Whichever of C and D is smaller is kept as the inner size of every product: for width H and
C = 4 outputs that is C H^2 operations a layer instead of H^2 D, and gradients stay factored until somebody needs them.
"""

from typing import NamedTuple

import torch
from torch import Tensor

Weights = tuple[Tensor, ...]


class Factored(NamedTuple):
    """The gradient of one layer, left @ right, or right alone where left is None."""

    left: Tensor | None
    """(K, H, R)."""
    right: Tensor
    """(K, R, D)."""

    def dense(self) -> Tensor:
        """(K, H, D)."""
        return self.right if self.left is None else torch.bmm(self.left, self.right)


class Chain(NamedTuple):
    """Partial products of a stack of linear networks from the thin end."""

    partial: list[Tensor]
    """From the outputs: W_L .. W_l for l = 1..L, (K, C, D). From the inputs: W_l .. W_1 for l = 1..L, (K, H, D)."""
    from_outputs: bool

    @property
    def end_to_end(self) -> Tensor:
        """W_L .. W_1, (K, C, D)."""
        return self.partial[0 if self.from_outputs else -1]


def chain(weights: Weights) -> Chain:
    """Partial products of W_1 .. W_L, each (K, H, D)."""
    if weights[-1].shape[1] <= weights[0].shape[2]:
        found = [weights[-1]]
        for weight in reversed(weights[:-1]):
            found.append(torch.bmm(found[-1], weight))
        return Chain(found[::-1], from_outputs=True)
    found = [weights[0]]
    for weight in weights[1:]:
        found.append(torch.bmm(weight, found[-1]))
    return Chain(found, from_outputs=False)


def layer_gradients(weights: Weights, products: Chain, end_to_end: Tensor) -> list[Factored]:
    """Gradients with respect to every layer from that with respect to the end-to-end matrix, (K, C, D)."""
    last, found = len(weights) - 1, []
    if products.from_outputs:
        right = end_to_end
        for layer, weight in enumerate(weights):
            found.append(Factored(None if layer == last else products.partial[layer + 1].mT, right))
            if layer < last:
                right = torch.bmm(right, weight.mT)
        return found
    left = end_to_end
    for layer in range(last, -1, -1):
        found.append(Factored(left, products.partial[layer - 1].mT) if layer else Factored(None, left))
        if layer:
            left = torch.bmm(weights[layer].mT, left)
    return found[::-1]
