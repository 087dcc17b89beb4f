"""Stacked fully connected networks: forward pass and hand-derived gradients, no autograd graph.

f(x) = W_L phi(W_{L-1} .. phi(W_1 x)), no activation on the output. The K networks of a stack differ in weights and
data and share their architecture; each batched product computes one layer of all of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nfa_kernels.activations import Activation, activation
from nfa_kernels.losses import Loss

Params = tuple[Tensor, ...]
"""Weights W_1 .. W_L of a stack, each (K, H, D)."""


@dataclass(frozen=True)
class Architecture:
    """What the networks of a stack share.

    Raises:
        ValueError: fewer than two widths, a width below 1, or an unknown activation.
    """

    widths: tuple[int, ...]
    """(d_0, .., d_L)."""
    activation: str = "linear"
    slope: float = 0.1

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"widths: received {self.widths}, allowed are at least two positive numbers d_0 .. d_L")
        activation(self.activation, self.slope)

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.widths) - 1

    @property
    def is_linear(self) -> bool:
        """Whether the network is a product of matrices."""
        return self.activation == "linear" or self.depth == 1

    @property
    def phi(self) -> Activation:
        """The activation of the hidden layers."""
        return activation(self.activation, self.slope)


def check_stack(architecture: Architecture, weights: Params, x: Tensor, y: Tensor | None = None) -> None:
    """Refuse weights or data that do not fit the architecture, or each other.

    Raises:
        ValueError: names the argument, its shape or dtype, and what it should be.
    """
    stack = x.shape[0]
    if len(weights) != architecture.depth:
        raise ValueError(f"weights: received {len(weights)} layers, needed are {architecture.depth}")
    for layer, weight in enumerate(weights, start=1):
        needed = (stack, architecture.widths[layer], architecture.widths[layer - 1])
        if tuple(weight.shape) != needed:
            raise ValueError(f"weights: layer {layer} has shape {tuple(weight.shape)}, needed is {needed}")
        if weight.dtype != x.dtype:
            raise ValueError(f"weights: layer {layer} is {weight.dtype}, x is {x.dtype}; they must be equal")
    for name, array, width in (("x", x, architecture.widths[0]), ("y", y, architecture.widths[-1])):
        if array is not None and (array.ndim != 3 or array.shape[1] == 0 or array.shape[-1] != width):
            raise ValueError(f"{name}: received shape {tuple(array.shape)}, needed is (K, N >= 1, {width})")


def forward(architecture: Architecture, weights: Params, x: Tensor) -> Tensor:
    """Outputs (K, N, C) for inputs x (K, N, D)."""
    hidden, phi = x, architecture.phi
    for weight in weights[:-1]:
        hidden = torch.bmm(hidden, weight.mT)
        hidden = hidden if architecture.is_linear else phi.function(hidden)
    return torch.bmm(hidden, weights[-1].mT)


def gradients(architecture: Architecture, weights: Params, x: Tensor, y: Tensor, loss: Loss) -> tuple[Params, Tensor]:
    """Gradients of the data loss with respect to every layer, and the loss (K,).

    Args:
        architecture: shared by the stack.
        weights: (K, H, D) per layer.
        x: (K, N, D) inputs.
        y: (K, N, C) targets.
        loss: value and output gradient.
    Returns:
        The gradients in the weights' shapes, and the loss at the given weights.
    """
    if architecture.is_linear:
        return _linear_gradients(weights, x, y, loss)
    phi = architecture.phi
    hidden, before = [x], []
    for weight in weights[:-1]:
        before.append(torch.bmm(hidden[-1], weight.mT))
        hidden.append(phi.function(before[-1]))
    outputs = torch.bmm(hidden[-1], weights[-1].mT)
    delta = loss.gradient(outputs, y)
    found = [torch.bmm(delta.mT, hidden[-1])]
    for layer in range(architecture.depth - 2, -1, -1):
        delta = torch.bmm(delta, weights[layer + 1]).mul_(phi.derivative(before[layer]))
        found.append(torch.bmm(delta.mT, hidden[layer]))
    return tuple(reversed(found)), loss.value(outputs, y)


def _linear_gradients(weights: Params, x: Tensor, y: Tensor, loss: Loss) -> tuple[Params, Tensor]:
    """The same for a product of matrices, through the end-to-end gradient: no (K, N, H) array is formed."""
    products = prefix_products(weights)
    outputs = torch.bmm(x, products[-1].mT)
    end_to_end = torch.bmm(loss.gradient(outputs, y).mT, x)
    return spread_gradient(weights, products, end_to_end), loss.value(outputs, y)


def prefix_products(weights: Params) -> list[Tensor]:
    """[W_1, W_2 W_1, .., W_L .. W_1], each (K, H, d_0)."""
    products = [weights[0]]
    for weight in weights[1:]:
        products.append(torch.bmm(weight, products[-1]))
    return products


def spread_gradient(weights: Params, products: list[Tensor], end_to_end: Tensor) -> Params:
    """Layer gradients of a linear network from the gradient (K, C, D) with respect to its end-to-end matrix.

    dloss/dW_l = (W_L .. W_{l+1})^T E (W_{l-1} .. W_1)^T.
    """
    found, back = [], end_to_end
    for layer in range(len(weights) - 1, 0, -1):
        found.append(torch.bmm(back, products[layer - 1].mT))
        back = torch.bmm(weights[layer].mT, back)
    found.append(back)
    return tuple(reversed(found))
