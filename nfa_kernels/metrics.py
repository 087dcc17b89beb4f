"""Every metric of a stack at one step, by name; all in float64, whatever the training's dtype.

One call measures all K networks. What several metrics share (a layer's spectrum, its pair with the Gram matrix, the
outputs on the training set) is computed once, and only if an asked metric needs it. Undefined is NaN; a lane that is
not finite or has collapsed is NaN in its own places and disturbs no other.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.agop import agop_factors
from nfa_kernels.alignment import LayerPair, layer_pair, null_floor, pair_alignment, residual, scale
from nfa_kernels.balance import Imbalance, imbalance
from nfa_kernels.best_exponent import BestExponent, best_exponent
from nfa_kernels.linear import LOSS_FACTORS, compressed
from nfa_kernels.losses import Loss, loss_of
from nfa_kernels.networks import Architecture, Params, forward, gradients
from nfa_kernels.spectra import spectrum


class Request(NamedTuple):
    """What to measure: metric ids, layer numbers from 1, and further exponents for alignment@a."""

    metrics: tuple[str, ...]
    layers: tuple[int, ...]
    exponents: tuple[float, ...] = ()


class Measured(NamedTuple):
    """Values (K,) in float64: by network metric, by layer and layer metric, and (layer, name, values)."""

    network: dict[str, Tensor]
    layers: dict[int, dict[str, Tensor]]
    parametrised: list[tuple[int, str, Tensor]]


class Reference(NamedTuple):
    """The data that metrics are measured on, prepared once per stack: (K, N', D) and (K, N', C), float64."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    zero_loss: Tensor
    """(K,) loss of the zero function."""

    def select(self, lanes: Tensor) -> "Reference":
        """The same for some lanes of the stack."""
        return Reference(*(part[lanes] for part in self))


def reference(architecture: Architecture, x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, loss: str) -> Reference:
    """Prepare a stack's data for measuring; linear networks are measured on at most D + C equivalent rows."""
    x, y, x_test, y_test = (part.to(torch.float64) for part in (x, y, x_test, y_test))
    zero_loss = loss_of(loss).value(torch.zeros_like(y), y)
    if architecture.is_linear and loss in LOSS_FACTORS:
        x, y = compressed(x, y)
        if x_test.shape[1]:
            x_test, y_test = compressed(x_test, y_test)
    return Reference(x, y, x_test, y_test, zero_loss)


def measure(architecture: Architecture, weights: Params, data: Reference, request: Request, loss: str) -> Measured:
    """Measure a whole stack at one step.

    Args:
        architecture: shared by the stack.
        weights: (K, H, D) per layer, any float dtype, at least one lane.
        data: from `reference`, for the same lanes.
        request: metric ids, layers and exponents.
        loss: name of the training loss.
    Raises:
        ValueError: an unknown metric, or a layer outside 1..L.
    """
    unknown = [name for name in request.metrics if name not in names.METRICS]
    if unknown:
        raise ValueError(f"metrics: received {', '.join(unknown)}, allowed are {', '.join(names.METRICS)}")
    weights = tuple(weight.to(torch.float64) for weight in weights)
    network = NetworkView(architecture, weights, data, loss_of(loss))
    found = {name: METRICS[name](network) for name in request.metrics if name in METRICS}
    asked = [name for name in request.metrics if name in LAYER_METRICS]
    layers: dict[int, dict[str, Tensor]] = {}
    parametrised: list[tuple[int, str, Tensor]] = []
    if asked or request.exponents:
        factors = agop_factors(architecture, weights, data.x, list(request.layers))
        for layer in request.layers:
            view = LayerView(
                layer_pair(weights[layer - 1], spectrum(factors[layer])), 1 / (architecture.depth - layer + 1)
            )
            layers[layer] = {name: LAYER_METRICS[name](view) for name in asked}
            parametrised += [(layer, f"alignment@{a:g}", pair_alignment(view.pair, a)) for a in request.exponents]
    return Measured(found, layers, parametrised)


class NetworkView:
    """What network metrics share, computed when first asked for."""

    def __init__(self, architecture: Architecture, weights: Params, data: Reference, loss: Loss) -> None:
        self.architecture, self.weights, self.data, self.loss = architecture, weights, data, loss

    @cached_property
    def gradients_and_loss(self) -> tuple[Params, Tensor]:
        """Gradients of the data loss on the whole training set, and the loss (K,)."""
        return gradients(self.architecture, self.weights, self.data.x, self.data.y, self.loss)

    @cached_property
    def imbalance(self) -> Imbalance:
        """Absolute and relative imbalance."""
        return imbalance(self.weights)

    @property
    def train_loss(self) -> Tensor:
        """(K,)."""
        return self.gradients_and_loss[1]

    @property
    def test_loss(self) -> Tensor:
        """(K,); NaN without a test set."""
        if self.data.x_test.shape[1] == 0:
            return torch.full_like(self.train_loss, torch.nan)
        return self.loss.value(forward(self.architecture, self.weights, self.data.x_test), self.data.y_test)


class LayerView:
    """What the metrics of one layer share, computed when first asked for."""

    def __init__(self, pair: LayerPair, theory_exponent: float) -> None:
        self.pair, self.theory_exponent = pair, theory_exponent

    @cached_property
    def best(self) -> BestExponent:
        """The best exponent, its kind and the alignment there."""
        return best_exponent(self.pair)

    @property
    def agop_rank(self) -> Tensor:
        """(K,); NaN where the AGOP is not finite."""
        return torch.where(self.pair.gram_norm.isnan(), torch.nan, self.pair.spectrum.rank.to(torch.float64))


def _norm(arrays: Params) -> Tensor:
    return sum((array.square().sum((-2, -1)) for array in arrays), start=torch.zeros(())).sqrt()


METRICS: dict[str, Callable[[NetworkView], Tensor]] = {
    "train_loss": lambda network: network.train_loss,
    "test_loss": lambda network: network.test_loss,
    "relative_loss": lambda network: network.train_loss / network.data.zero_loss,
    "gradient_norm": lambda network: _norm(network.gradients_and_loss[0]),
    "weight_norm": lambda network: _norm(network.weights),
    "imbalance": lambda network: network.imbalance.absolute,
    "imbalance_relative": lambda network: network.imbalance.relative,
}
"""Network metrics: name -> (K,) float64."""

LAYER_METRICS: dict[str, Callable[[LayerView], Tensor]] = {
    "alignment": lambda layer: pair_alignment(layer.pair, layer.theory_exponent),
    "alignment_half": lambda layer: pair_alignment(layer.pair, 0.5),
    "alignment_one": lambda layer: pair_alignment(layer.pair, 1.0),
    "residual": lambda layer: residual(layer.pair, layer.theory_exponent),
    "scale": lambda layer: scale(layer.pair, layer.theory_exponent),
    "best_exponent": lambda layer: layer.best.exponent,
    "best_exponent_kind": lambda layer: layer.best.kind,
    "best_alignment": lambda layer: layer.best.alignment,
    "null_floor": lambda layer: null_floor(layer.pair, layer.theory_exponent),
    "agop_rank": lambda layer: layer.agop_rank,
}
"""Layer metrics: name -> (K,) float64."""
