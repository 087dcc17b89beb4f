"""Networks on torch's tape so that they can be differentiated twice, with the derivatives that this package gives."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfa_kernels.activations import Activation
from nfa_kernels.networks import Architecture, Params
from nfa_kernels.scaling import largest_entry


class Taped(NamedTuple):
    """A stack of networks of any kind as a function of its parameters."""

    outputs: Callable[[Params, Tensor], Tensor]
    """(K, N, C) f(x) of parameters (K, rows, columns) and x (K, N, ..); keeps what two derivatives need."""
    params: Params
    """Every trained array in float64."""
    numbers_per_sample: int
    """That leave the layers."""

    @property
    def parameters(self) -> int:
        """Of one network."""
        return sum(array[0].numel() for array in self.params)

    def part(self, lanes: slice) -> "Taped":
        """Some networks of the stack."""
        return self._replace(params=tuple(array[lanes] for array in self.params))

    def parts(self, lanes: int) -> Iterator[tuple[slice, "Taped"]]:
        """So many networks at a time, and where they are."""
        for at in range(0, len(self.params[0]), lanes):
            some = slice(at, at + lanes)
            yield some, self.part(some)


def taped(architecture: Architecture, params: Params) -> Taped:
    """A stack of fully connected networks."""

    def outputs(params: Params, x: Tensor) -> Tensor:
        weights, biases = architecture.effective(params), architecture.biases(params)
        for index, weight in enumerate(weights):
            if index and not architecture.is_linear:
                x = twice_differentiable(x, architecture.phi)
            x = torch.bmm(x, weight.mT)
            if biases:
                x = x + biases[index].mT
        return x

    doubles = tuple(array.to(torch.float64) for array in params)
    return Taped(outputs, doubles, 2 * sum(architecture.widths))


def twice_differentiable(z: Tensor, phi: Activation) -> Tensor:
    """phi(z) elementwise, with its first and second derivative."""
    found: Tensor = _Value.apply(z, phi)
    return found


def fresh(array: Tensor) -> Tensor:
    """The same numbers for the tape, which takes no tensors that were made in inference mode."""
    return array.clone() if array.is_inference() else array.detach()


SAFE = 140 * math.log(10)
"""Log of how far from one the sizes of layers may multiply to, so that no product of them has lost digits."""


def log_span(arrays: Sequence[Tensor]) -> Tensor:
    """(K,) log of how far from one the largest entries of arrays (K, ..) can multiply to, whichever are taken."""
    sizes = torch.stack([largest_entry(array.to(torch.float64)) for array in arrays]).log()
    return torch.where(sizes.isfinite(), sizes.abs(), 0.0).sum(0)


def digits_are_kept(arrays: Sequence[Tensor]) -> Tensor:
    """(K,) whether no product of layers under- or overflows, squares of such products scaled apart."""
    return log_span(arrays) < 2 * SAFE


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, phi: Activation) -> Tensor:
        ctx.save_for_backward(z)
        ctx.phi = phi
        return phi.function(z)

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return deltas[0] * _Derivative.apply(z, ctx.phi), None


class _Derivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, phi: Activation) -> Tensor:
        ctx.save_for_backward(z)
        ctx.phi = phi
        return phi.derivative(z)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return deltas[0] * ctx.phi.second(z), None
