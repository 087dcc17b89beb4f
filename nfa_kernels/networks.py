"""Stacked fully connected networks: forward pass and hand-derived gradients, no autograd graph.

f(x) = c_L W_L phi(c_{L-1} W_{L-1} .. phi(c_1 W_1 x + b_1) ..) + b_L, no activation on the output; the c_l are 1 unless
the parameterisation says otherwise, and biases are there if asked for. The K networks of a stack differ in weights and
data and share their architecture; each batched product computes one layer of all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nfa_kernels.activations import Activation, activation
from nfa_kernels.at_once import lanes_in_block, lanes_in_step
from nfa_kernels.losses import Loss
from nfa_kernels.parameterizations import multipliers
from nfa_kernels.products import Factored, chain, layer_gradients

Params = tuple[Tensor, ...]
"""Weights W_1 .. W_L of a stack, each (K, H, D); then, with biases, b_1 .. b_L, each (K, H, 1)."""


@dataclass(frozen=True)
class Architecture:
    """What the networks of a stack share.

    Raises:
        ValueError: fewer than two widths, a width below 1, or an unknown activation or parameterisation.
    """

    widths: tuple[int, ...]
    """(d_0, .., d_L)."""
    activation: str = "linear"
    slope: float = 0.1
    bias: bool = False
    parameterization: str = "standard"

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"widths: received {self.widths}, allowed are at least two positive numbers d_0 .. d_L")
        activation(self.activation, self.slope)
        multipliers(self.parameterization, self.widths)

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.widths) - 1

    @property
    def is_linear(self) -> bool:
        """Whether no activation bends the network: its Jacobian is the same product of matrices everywhere."""
        return self.activation == "linear" or self.depth == 1

    @property
    def is_product(self) -> bool:
        """Whether the network is a product of matrices: linear and without biases."""
        return self.is_linear and not self.bias

    @property
    def multipliers(self) -> tuple[float, ...]:
        """(c_1, .., c_L)."""
        return multipliers(self.parameterization, self.widths)

    @property
    def phi(self) -> Activation:
        """The activation of the hidden layers."""
        return activation(self.activation, self.slope)

    def weights(self, params: Params) -> Params:
        """W_1 .. W_L alone."""
        return params[: self.depth]

    def biases(self, params: Params) -> Params:
        """b_1 .. b_L; empty without biases."""
        return params[self.depth :]

    def effective(self, params: Params) -> Params:
        """c_l W_l for every layer: what the network computes with."""
        if self.parameterization == "standard":
            return self.weights(params)
        return tuple(weight * c for weight, c in zip(self.weights(params), self.multipliers, strict=True))

    def pulled_back(self, gradients: Params) -> Params:
        """Gradients with respect to W_l from those with respect to c_l W_l; biases' gradients behind them stay."""
        if self.parameterization == "standard":
            return gradients
        scaled = (gradient * c for gradient, c in zip(self.weights(gradients), self.multipliers, strict=True))
        return (*scaled, *self.biases(gradients))

    def zero_biases(self, weights: Params) -> Params:
        """b_l = 0 for every layer of a stack, as networks begin; empty without biases."""
        return tuple(weight.new_zeros(weight.shape[0], weight.shape[1], 1) for weight in weights if self.bias)


def check_stack(architecture: Architecture, params: Params, x: Tensor, y: Tensor | None = None) -> None:
    """Refuse parameters or data that do not fit the architecture, or each other.

    Raises:
        ValueError: names the argument, its shape or dtype, and what it should be.
    """
    stack, depth = x.shape[0], architecture.depth
    if len(params) != depth * (1 + architecture.bias):
        arrays = "weights and biases" if architecture.bias else "weights"
        raise ValueError(f"weights: received {len(params)} arrays, needed are {arrays} of {depth} layers")
    for index, array in enumerate(params):
        layer = index % depth + 1
        kind, fan_in = ("weights", architecture.widths[layer - 1]) if index < depth else ("biases", 1)
        needed = (stack, architecture.widths[layer], fan_in)
        if tuple(array.shape) != needed:
            raise ValueError(f"{kind}: layer {layer} has shape {tuple(array.shape)}, needed is {needed}")
        if array.dtype != x.dtype:
            raise ValueError(f"{kind}: layer {layer} is {array.dtype}, x is {x.dtype}; they must be equal")
    for name, array, width in (("x", x, architecture.widths[0]), ("y", y, architecture.widths[-1])):
        if array is not None and (array.ndim != 3 or array.shape[1] == 0 or array.shape[-1] != width):
            raise ValueError(f"{name}: received shape {tuple(array.shape)}, needed is (K, N >= 1, {width})")


def forward(architecture: Architecture, params: Params, x: Tensor) -> Tensor:
    """Outputs (K, N, C) for inputs x (K, N, D)."""
    if architecture.is_product:
        return torch.bmm(x, chain(architecture.effective(params)).end_to_end.mT)
    # by samples first: how many are passed at once depends on the network alone, never on the stack
    samples = max(1, _PASSED_BYTES // (sum(architecture.widths) * x.element_size()))
    if x.shape[1] > samples:
        return torch.cat([forward(architecture, params, part) for part in x.split(samples, 1)], 1)
    lanes = lanes_in_block(x, x.shape[1] * sum(architecture.widths) * x.element_size(), _PASSED_BYTES)
    found = [
        layers(architecture, tuple(array[at : at + lanes] for array in params), x[at : at + lanes])[-1][0].mT
        for at in range(0, x.shape[0], lanes)
    ]
    return found[0] if len(found) == 1 else torch.cat(found)


_PASSED_BYTES = 16 << 20
"""Of activations that a forward pass holds at once, whatever the samples and the stack."""


def samples_last(x: Tensor) -> Tensor:
    """The same (K, N, D) with the samples next to each other in memory."""
    return x.mT.contiguous().mT


def laid_out(architecture: Architecture, x: Tensor) -> Tensor:
    """The same (K, N, D) in the memory order in which a pass forward and back reads it best.

    The longer of samples and features lies next to each other: in float64 that takes a sixth of the time off a step of
    256 samples through 64 units, and a quarter off one of 64 samples through 512.
    """
    return samples_last(x) if is_samples_last(architecture, x.shape[1]) else x.contiguous()


def is_samples_last(architecture: Architecture, samples: int) -> bool:
    """Whether so many samples are laid out next to each other."""
    return samples >= max(architecture.widths[1:-1], default=1)


def layers(architecture: Architecture, params: Params, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(pre-activation, input) of every layer, each (K, .., N); the last pre-activation is the outputs.

    Pre-activations are left as `Activation.applied` leaves them: fit for derivatives. All lie in memory as x does:
    samples last, or features last; see `laid_out`.
    """
    weights, biases = architecture.effective(params), architecture.biases(params)
    hidden, found = x.mT, []
    for index, weight in enumerate(weights):
        if index:
            hidden = found[-1][0] if architecture.is_linear else architecture.phi.applied(found[-1][0])
        before = _product(weight, hidden)
        found.append((before.add_(biases[index]) if biases else before, hidden))
    return found


def _product(matrix: Tensor, columns: Tensor) -> Tensor:
    """matrix @ columns, (K, H, D) times (K, D, N); lies in memory as the columns do."""
    if columns.stride(-1) == 1:
        return torch.bmm(matrix, columns)
    return torch.bmm(columns.mT, matrix.mT).mT


def gradients(architecture: Architecture, params: Params, x: Tensor, y: Tensor, loss: Loss) -> Params:
    """Gradients of the data loss with respect to every parameter, in the parameters' shapes.

    Args:
        architecture: shared by the stack.
        params: weights, and biases if the architecture has them.
        x: (K, N, D) inputs.
        y: (K, N, C) targets.
        loss: value and output gradient.
    """
    return _gradients(architecture, params, x, y, loss, None)


def gradients_and_loss(
    architecture: Architecture, params: Params, x: Tensor, y: Tensor, loss: Loss
) -> tuple[Params, Tensor]:
    """The gradients, and the loss (K,) at the given parameters; arguments as in `gradients`."""
    value = x.new_empty(x.shape[0])
    return _gradients(architecture, params, x, y, loss, value), value


def _gradients(
    architecture: Architecture, params: Params, x: Tensor, y: Tensor, loss: Loss, value: Tensor | None
) -> Params:
    """The gradients; the loss is written where there is a place for it."""
    if architecture.is_product:
        return architecture.pulled_back(_product_gradients(architecture.effective(params), x, y, loss, value))
    stack, samples = x.shape[:2]
    at_once = lanes_in_step if value is None else lanes_in_block
    size = at_once(x, samples * sum(architecture.widths) * x.element_size(), _CACHED_BYTES)
    found = tuple(torch.empty_like(array) for array in params)
    for first in range(0, stack, size):
        some = slice(first, first + size)
        into = tuple(array[some] for array in found)
        of_some = None if value is None else value[some]
        _backpropagate(architecture, tuple(array[some] for array in params), x[some], y[some], loss, into, of_some)
    return architecture.pulled_back(found)


_CACHED_BYTES = 2 << 20
"""Of the activations of the networks that a core sweeps at once, so that they stay in its cache."""


def _backpropagate(
    architecture: Architecture, params: Params, x: Tensor, y: Tensor, loss: Loss, found: Params, value: Tensor | None
) -> None:
    """Write gradients with respect to c_l W_l and b_l, and losses, of a few networks that are no products."""
    weights, passed = architecture.effective(params), layers(architecture, params, x)
    of_weights, of_biases = architecture.weights(found), architecture.biases(found)
    outputs = passed[-1][0].mT
    if value is not None:
        value.copy_(loss.value(outputs, y))
    for index, delta in _deltas(architecture, weights, passed, loss.gradient(outputs, y).mT):
        torch.bmm(delta, passed[index][1].mT, out=of_weights[index])
        if architecture.bias:
            torch.sum(delta, 2, keepdim=True, out=of_biases[index])


def _deltas(
    architecture: Architecture, weights: Params, passed: list[tuple[Tensor, Tensor]], delta: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Place and dloss/dz (K, H, N) of every layer, from the last, whose own is given, down to the first."""
    for index in range(architecture.depth - 1, -1, -1):
        yield index, delta
        if index:
            delta = _product(weights[index].mT, delta)
            if not architecture.is_linear:
                delta = architecture.phi.backward(delta, passed[index - 1][0])


def is_thin(architecture: Architecture, samples: int) -> bool:
    """Whether the factors of `thin_gradients` are fewer numbers than the gradients, and all that these depend on."""
    pairs = [*pairwise(architecture.widths)]
    thin = samples * sum(sum(pair) for pair in pairs) < sum(fan_in * fan_out for fan_in, fan_out in pairs)
    return thin and not architecture.bias and architecture.parameterization == "standard"


def thin_gradients(
    architecture: Architecture, params: Params, x: Tensor, y: Tensor, loss: Loss, scale: Tensor
) -> list[Factored]:
    """`scale` (K, 1, 1) times the gradients of every layer, as dloss/dz times its input, the sum over samples undone.

    An update that adds the product to the weights reads and writes them once, and no gradient: of layers that are wider
    than the batch, that is half of what passes through memory. Arguments as in `gradients`; see `is_thin`.
    """
    passed = layers(architecture, params, x)
    last = loss.gradient(passed[-1][0].mT, y).mT * scale
    found = dict(_deltas(architecture, params, passed, last))
    return [Factored(found[index], passed[index][1].mT) for index in range(architecture.depth)]


def _product_gradients(weights: Params, x: Tensor, y: Tensor, loss: Loss, value: Tensor | None) -> Params:
    """The same for a product of matrices, through the end-to-end gradient: no (K, N, H) array is formed."""
    products = chain(weights)
    outputs = torch.bmm(x, products.end_to_end.mT)
    if value is not None:
        value.copy_(loss.value(outputs, y))
    end_to_end = torch.bmm(loss.gradient(outputs, y).mT, x)
    return tuple(one.dense() for one in layer_gradients(weights, products, end_to_end))
