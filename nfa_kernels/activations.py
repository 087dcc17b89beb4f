"""Activations with their exact derivatives: name -> (function, derivative, second), elementwise on any tensor.

ReLU'(0) = 0, leaky ReLU'(0) = slope, and kinks have no second derivative: it is 0 everywhere. GELU is the exact one,
x Phi(x). Sigmoid and softplus are written with exp and log1p: torch's own round an element differently by its place in
an array, so that a network's numbers would depend on what it is stacked with.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_SQRT_HALF = math.sqrt(0.5)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)


class Activation(NamedTuple):
    """An activation and its derivatives, functions of the pre-activation."""

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]
    """The second derivative, which curvature reads."""
    fused: Callable[[Tensor, Tensor], Tensor] | None = None
    """delta * derivative(z) written over delta in one pass, where torch has one that rounds the same."""
    overwriting: Callable[[Tensor], Tensor] | None = None
    """The function written over its argument, where the derivative is the same there as at the argument."""

    whole: tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]] | None = None
    """The function, and delta * derivative(z), each in one pass of torch's: exact up to rounding of numbers of order
    one, as the lower tail of the two above is not. Rounds alike in arrays of whole vectors of the processor alone."""

    both: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    """Value and derivative with what they share taken once, to the same bits."""

    def with_derivative(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The function's values, and its derivative there."""
        return self.both(z) if self.both else (self.function(z), self.derivative(z))

    def applied(self, z: Tensor) -> Tensor:
        """The function's values; overwrites z where the derivative can be had from what is left."""
        return self.overwriting(z) if self.overwriting else self.function(z)

    def backward(self, delta: Tensor, z: Tensor) -> Tensor:
        """delta * derivative(z), written over delta; z as given, or as `applied` has left it."""
        return self.fused(delta, z) if self.fused else delta.mul_(self.derivative(z))


def _gelu(z: Tensor) -> Tensor:
    return z * _normal_cdf(z)


def _gelu_derivative(z: Tensor) -> Tensor:
    return _normal_cdf(z) + z * torch.exp(-z.square() / 2) * _INV_SQRT_2PI


def _gelu_with_derivative(z: Tensor) -> tuple[Tensor, Tensor]:
    below = _normal_cdf(z)
    return z * below, below + z * torch.exp(-z.square() / 2) * _INV_SQRT_2PI


def _gelu_second(z: Tensor) -> Tensor:
    return (2 - z.square()) * torch.exp(-z.square() / 2) * _INV_SQRT_2PI


def _normal_cdf(z: Tensor) -> Tensor:
    # erfc keeps relative accuracy in the lower tail, where 1 + erf cancels
    return torch.special.erfc(-z * _SQRT_HALF) / 2


def _sigmoid(z: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-z))


def _silu_derivative(z: Tensor) -> Tensor:
    gate = _sigmoid(z)
    return gate * (1 + z * (1 - gate))


def _silu_second(z: Tensor) -> Tensor:
    gate, closed = _sigmoid(z), _sigmoid(-z)
    return gate * closed * (2 + z * (closed - gate))


def _silu_with_derivative(z: Tensor) -> tuple[Tensor, Tensor]:
    gate = _sigmoid(z)
    return z * gate, gate * (1 + z * (1 - gate))


def _tanh_second(z: Tensor) -> Tensor:
    value = torch.tanh(z)
    return -2 * value * (1 - value.square())


def _tanh_with_derivative(z: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(z)
    return value, 1 - value.square()


def _softplus(z: Tensor) -> Tensor:
    return z.clamp_min(0) + torch.log1p(torch.exp(-z.abs()))


def _sigmoid_derivative(z: Tensor) -> Tensor:
    return _sigmoid(z) * _sigmoid(-z)


def _sigmoid_second(z: Tensor) -> Tensor:
    gate, closed = _sigmoid(z), _sigmoid(-z)
    return gate * closed * (closed - gate)


def _erf_derivative(z: Tensor) -> Tensor:
    return _TWO_OVER_SQRT_PI * torch.exp(-z.square())


def _leaky(z: Tensor, slope: float) -> Tensor:
    return torch.where(z > 0, z, slope * z)


def _leaky_derivative(z: Tensor, slope: float) -> Tensor:
    # two Python numbers would make a float32 tensor, with the slope rounded to it
    return torch.where(z > 0, torch.ones_like(z), slope)


def _relu_derivative(z: Tensor) -> Tensor:
    # a comparison written as numbers at once: a quarter of the time of one that is converted
    return torch.gt(z, 0, out=torch.empty_like(z))


def _relu_backward(delta: Tensor, z: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward.grad_input(delta, z, 0, grad_input=delta)


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda z: z, torch.ones_like, torch.zeros_like),
    # relu(z) > 0 exactly where z > 0: one array less for every layer, in every pass
    "relu": Activation(torch.relu, _relu_derivative, torch.zeros_like, _relu_backward, torch.relu_),
    "tanh": Activation(torch.tanh, lambda z: 1 - torch.tanh(z).square(), _tanh_second, both=_tanh_with_derivative),
    "gelu": Activation(
        _gelu,
        _gelu_derivative,
        _gelu_second,
        whole=(functional.gelu, torch.ops.aten.gelu_backward.default),
        both=_gelu_with_derivative,
    ),
    "silu": Activation(lambda z: z * _sigmoid(z), _silu_derivative, _silu_second, both=_silu_with_derivative),
    "softplus": Activation(_softplus, _sigmoid, _sigmoid_derivative),
    "sigmoid": Activation(_sigmoid, _sigmoid_derivative, _sigmoid_second),
    "erf": Activation(torch.erf, _erf_derivative, lambda z: -2 * z * _erf_derivative(z)),
    "quadratic": Activation(torch.square, lambda z: 2 * z, lambda z: torch.full_like(z, 2.0)),
}
"""Those without a parameter; `activation` also knows leaky_relu."""


def activation(name: str, slope: float = 0.1) -> Activation:
    """The activation of this name; `slope` is read by leaky_relu alone.

    Raises:
        ValueError: unknown name.
    """
    if name == "leaky_relu":
        return Activation(partial(_leaky, slope=slope), partial(_leaky_derivative, slope=slope), torch.zeros_like)
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: received {name!r}, allowed are leaky_relu, {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
