"""What the metrics of one measurement share, computed when first asked for and then kept."""

import math
from functools import cached_property

import torch
from torch import Tensor

from nfa_kernels.agop import Sweep, linear_agop_spectra, linear_preactivation_factors, sweep
from nfa_kernels.alignment import LayerPair, layer_pair, residual
from nfa_kernels.asked import Asked
from nfa_kernels.balance import Imbalance, imbalance, layer_imbalance
from nfa_kernels.best_exponent import BestExponent, best_exponent
from nfa_kernels.classification import accuracy, log_gain, tie_resolution, without_zeros
from nfa_kernels.curvature import sharpness
from nfa_kernels.literature import gram
from nfa_kernels.losses import loss_of
from nfa_kernels.native.linear_networks import Gradients, gradient_squares
from nfa_kernels.native.sweeps import Targets
from nfa_kernels.networks import Architecture, Params, forward, gradients_and_loss
from nfa_kernels.norms import norm, root_or
from nfa_kernels.scaling import (
    are_within,
    is_rounded,
    largest_entry,
    layers_scaled,
    smallest_exact,
    unit_scaled,
)
from nfa_kernels.spectra import Spectrum, spectrum
from nfa_kernels.tangent_kernel import Kernel, fully_connected_kernel, ntk_alignment
from nfa_kernels.taped import Taped, taped

_ORDINARY_POWERS = {torch.float64: 300, torch.float32: 60}
"""Powers of two on either side of one between which no product of layers, computed in that dtype, is doubted."""
MODE_THRESHOLD = 0.01
"""An end-to-end singular value above this is a mode that the network has learnt or kept."""


class NetworkView:
    """A stack at one step: weights, data, and what several metrics of it need."""

    def __init__(self, architecture: Architecture, weights: Params, passed: Params, asked: Asked) -> None:
        self.architecture, self._passed = architecture, passed
        self._begin(weights, architecture.weights(weights), asked.initial, asked)

    def _begin(self, params: Params, weights: Params, initial: Params | None, asked: Asked) -> None:
        """What every kind of network has.

        Args:
            params: of the stack.
            weights: matrices of its measured layers.
            initial: the same at step 0.
            asked: what the view is made for.
        """
        self._all, self._all_initial = params, asked.initial
        self._given, self.data = weights, asked.data
        self._doubles: dict[int, Tensor] = {}
        self.loss_name, self.loss = asked.loss, loss_of(asked.loss)
        self.layers, self._initial, self._weight_decay = asked.layers, initial, asked.weight_decay
        self._needs = asked.needs

    @property
    def computed_in(self) -> torch.dtype:
        """Of the passes over the samples."""
        return self.data.x.dtype

    def weight(self, layer: int) -> Tensor:
        """(K, H, D) one layer's weights in float64; wide ones are converted only where somebody reads them."""
        if layer not in self._doubles:
            self._doubles[layer] = self._given[layer - 1].to(torch.float64)
        return self._doubles[layer]

    @property
    def weights(self) -> Params:
        """W_1 .. W_L in float64."""
        return tuple(self.weight(layer) for layer in range(1, self.architecture.depth + 1))

    @cached_property
    def gradients_and_loss(self) -> tuple[Params, Tensor]:
        """Gradients of the data loss on the whole training set, and the loss (K,)."""
        x, y = self.data.x, self.data.y.to(self.data.x.dtype)
        found = self.sweep.gradients if self._is_swept else ()
        if found:
            loss = self.loss.value(self.sweep.outputs, y)
            return tuple(gradient.to(torch.float64) for gradient in found), loss.to(torch.float64)
        gradients, loss = gradients_and_loss(self.architecture, self._passed, x, y, self.loss)
        return tuple(gradient.to(torch.float64) for gradient in gradients), loss.to(torch.float64)

    @cached_property
    def _thin(self) -> Gradients | None:
        """Outputs and sizes of gradients of a product of matrices, where they come without the gradients themselves."""
        if not self.architecture.is_product:
            return None
        return gradient_squares(self.architecture.effective(self.weights), self.data.x, self.data.y, self.loss_name)

    @property
    def gradient_norm(self) -> Tensor:
        """(K,) of the gradient with respect to all weights."""
        if self._thin is None:
            return norm(self.weight_gradients)
        multipliers = self._thin.squares.new_tensor(self.architecture.multipliers)
        return root_or((self._thin.squares * multipliers.square()).sum(1), lambda: norm(self.weight_gradients))

    @property
    def weight_gradients(self) -> Params:
        """Those with respect to W_1 .. W_L, in float64."""
        return self.architecture.weights(self.gradients_and_loss[0])

    @cached_property
    def imbalance(self) -> Imbalance:
        """Absolute and relative imbalance."""
        return imbalance(self.weights)

    @cached_property
    def sweep(self) -> Sweep:
        """Outputs and factors of a network that is not linear, at every asked layer."""
        at_inputs = self.layers if self._needs.agop else ()
        at_preactivations = self.layers if self._needs.preactivations else ()
        y = self.data.y.to(self.data.x.dtype)
        targets = Targets(y, self.loss_name) if self._needs.gradients else None
        return sweep(self.architecture, self._passed, self.data.x, at_inputs, at_preactivations, targets=targets)

    @property
    def _is_swept(self) -> bool:
        """Whether somebody needs a pass over the samples that finds the outputs."""
        return not self.architecture.is_linear and (self._needs.agop or self._needs.preactivations)

    @cached_property
    def spectra(self) -> dict[int, Spectrum]:
        """Spectrum of the AGOP at every asked layer; of a linear network always also at the first."""
        architecture = self.architecture
        if architecture.is_linear:
            return linear_agop_spectra(architecture, architecture.effective(self.weights), {*self.layers, 1})
        found = self.sweep.spectra
        if self._is_ordinary:
            return found
        return {at: one.without(self._is_doubtful(at)) for at, one in found.items()}

    def _is_doubtful(self, layer: int) -> Tensor:
        """(K,) where a Jacobian from this layer on is no number, or rounding, or told from such activations.

        A product that has underflowed looks like that of a layer that is zero, and is none.
        """
        totals = [self._log_sizes[layer - 1 :].sum(0)]
        if layer < len(self._log_sizes):
            totals.append(self._log_sizes[:-1].sum(0))
        least = math.log(smallest_exact(self.computed_in))
        rounded = torch.stack([total.isfinite() & (total < least) for total in totals]).any(0)
        return rounded | ~self._is_computed

    @cached_property
    def _log_sizes(self) -> Tensor:
        """(L, K) log of the largest entry of every layer."""
        weights = self.architecture.effective(self.weights)
        return torch.stack([largest_entry(weight) for weight in weights]).log()

    @cached_property
    def _is_computed(self) -> Tensor:
        """(K,) whether every output is a number."""
        return self.sweep.outputs.isfinite().flatten(1).all(1)

    @cached_property
    def preactivation_factors(self) -> dict[int, Tensor]:
        """Factors of the outer products of df/dz_l at every asked layer."""
        if self.architecture.is_linear:
            # metrics of these do not see their scale
            scaled, _ = layers_scaled(self.architecture.effective(self.weights))
            return linear_preactivation_factors(tuple(scaled), self.layers)
        factors = {layer: factor.to(torch.float64) for layer, factor in self.sweep.preactivations.items()}
        if self._is_ordinary:
            return factors
        return {at: one.masked_fill(self._is_doubtful(at)[:, None, None], torch.nan) for at, one in factors.items()}

    @cached_property
    def _is_ordinary(self) -> bool:
        """Whether no product of layers comes near to under- or overflowing, in any network of the stack."""
        weights = self.architecture.effective(self.weights)
        reach = _ORDINARY_POWERS[self.computed_in] // len(weights)
        return all(are_within(weight, reach) for weight in weights) and bool(self._is_computed.all())

    @cached_property
    def train_loss(self) -> Tensor:
        """(K,); from a pass over the samples that somebody needs anyway, if there is one."""
        if self._needs.gradients:
            thin = self._thin
            return self.gradients_and_loss[1] if thin is None else self.loss.value(thin.outputs, self.data.y)
        outputs = self.sweep.outputs if self._is_swept else self._outputs(self.data.x)
        return self.loss.value(outputs.to(torch.float64), self.data.y)

    def _outputs(self, x: Tensor) -> Tensor:
        """(K, N, C) f(x) in float64."""
        return forward(self.architecture, self._passed, x).to(torch.float64)

    @property
    def taped(self) -> Taped:
        """The stack as a function of all its parameters."""
        return taped(self.architecture, self._all)

    @property
    def sharpness(self) -> Tensor:
        """(K,) the largest eigenvalue of the Hessian of the training loss, in float64 whatever the passes are in."""
        return sharpness(self.taped, self.data.x.to(torch.float64), self.data.y, self.loss)

    @cached_property
    def tangent_kernel(self) -> Kernel:
        """Of the first samples, in all parameters."""
        return self._tangent_kernel(self._all)

    @cached_property
    def initial_tangent_kernel(self) -> Kernel:
        """The same at step 0."""
        return self._tangent_kernel(self._given_initial(self._all_initial))

    def _tangent_kernel(self, params: Params) -> Kernel:
        doubles = tuple(array.to(torch.float64) for array in params)
        if len(doubles) < len(self._all):
            doubles = (*doubles, *self.architecture.zero_biases(doubles))
        return fully_connected_kernel(self.architecture, doubles, self._first_x)

    @property
    def _first_x(self) -> Tensor:
        """(K, n, ..) the samples that tangent kernels are of.

        Raises:
            ValueError: the data were prepared without them.
        """
        if self.data.first_x.shape[1] == 0:
            raise ValueError("data: prepared with kernels=False, needed is kernels=True for the metrics asked for")
        return self.data.first_x

    @property
    def ntk_alignment(self) -> Tensor:
        """(K,) of the tangent kernel with the targets as they were given."""
        return ntk_alignment(self.tangent_kernel, self.data.first_y)

    @property
    def relative_loss(self) -> Tensor:
        """(K,) over the loss of the zero function."""
        return self.train_loss / self.data.zero_loss

    @property
    def test_loss(self) -> Tensor:
        """(K,); NaN without a test set."""
        if self.data.x_test.shape[1] == 0:
            return torch.full_like(self.train_loss, torch.nan)
        return self.loss.value(self._outputs(self.data.x_test), self.data.y_test)

    @property
    def accuracy(self) -> Tensor:
        """(K,); NaN where the targets name no classes, or outputs tie because they have underflowed."""
        x, y = self.data.classified_x, self.data.classified_y
        if x.shape[1] == 0:
            return torch.full_like(self.train_loss, torch.nan)
        resolution = tie_resolution(self._gains, self._input_logs(x), self._degree, self.computed_in)
        return accuracy(self._outputs(x), y, logits=self.loss_name == "logistic", resolution=resolution)

    @property
    def _gains(self) -> Tensor:
        """(.., K) log of what every layer multiplies numbers by; with biases a layer of zeros hides no other."""
        architecture = self.architecture
        gains = torch.stack([log_gain(weight) for weight in architecture.effective(self.weights)])
        if not architecture.bias:
            return gains
        biases = [log_gain(bias.to(torch.float64)) for bias in architecture.biases(self._passed)]
        return without_zeros(torch.cat([gains, torch.stack(biases)]))

    def _input_logs(self, x: Tensor) -> Tensor:
        """(K, N) log of the largest number in every sample's input."""
        return x.abs().flatten(2).amax(2).to(torch.float64).log()

    @property
    def _degree(self) -> int:
        """Of the outputs in the weights and inputs, at the most."""
        return 2 ** (self.architecture.depth - 1) if self.architecture.activation == "quadratic" else 1

    @property
    def modes(self) -> Tensor:
        """(K,) end-to-end singular values above the threshold; NaN for nonlinear networks."""
        return self._modes() if self.architecture.is_linear else torch.full_like(self.data.zero_loss, torch.nan)

    def _modes(self) -> Tensor:
        """(K,) of a linear network: its end-to-end singular values are those of the AGOP at the first layer."""
        found = self.spectra[1]
        return torch.where(found.finite, (found.power(0.5) > MODE_THRESHOLD).sum(-1).to(torch.float64), torch.nan)

    @property
    def initial(self) -> Params:
        """The weights at step 0.

        Raises:
            ValueError: the caller gave none.
        """
        return self._given_initial(self._initial)

    @staticmethod
    def _given_initial(initial: Params | None) -> Params:
        if initial is None:
            raise ValueError("initial: received None, needed are the weights at step 0 for the metrics asked for")
        return initial

    @property
    def weight_decay(self) -> Tensor:
        """(K,) the configured weight decay.

        Raises:
            ValueError: the caller gave none.
        """
        if self._weight_decay is None:
            raise ValueError("weight_decay: received None, needed is (K,) for the metrics asked for")
        return self._weight_decay


class LayerView:
    """One layer of a stack at one step."""

    def __init__(self, network: NetworkView, layer: int) -> None:
        exponent = 1 / (network.architecture.depth - layer + 1)
        gamma = math.prod(c * c for c in network.architecture.multipliers[layer - 1 :]) ** exponent
        self._begin(network, layer, exponent, gamma)

    def _begin(self, network: NetworkView, layer: int, exponent: float, gamma: float) -> None:
        """What every kind of layer has."""
        self.network, self.layer = network, layer
        self.weight = network.weight(layer)
        self.theory_exponent, self.gamma = exponent, gamma
        """W^T W = G^a / gamma is what the theorem states."""

    @property
    def agop(self) -> Spectrum:
        """Spectrum of the AGOP at the layer's input."""
        return self.network.spectra[self.layer]

    @cached_property
    def pair(self) -> LayerPair:
        """The Gram matrix against the AGOP's spectrum."""
        return layer_pair(self.weight, self.agop)

    @cached_property
    def best(self) -> BestExponent:
        """The best exponent, its kind and the alignment there."""
        return best_exponent(self.pair)

    @property
    def residual(self) -> Tensor:
        """(K,) what the theorem states is zero."""
        return residual(self.pair, self.theory_exponent, self.gamma)

    @property
    def imbalance(self) -> Tensor:
        """(K,) |D_l|; NaN without a neighbour above."""
        return layer_imbalance(self.network.weights, self.layer)

    @cached_property
    def gram(self) -> Tensor:
        """(K, D, D) W^T W, up to a factor, for metrics that do not see the scale."""
        return gram(unit_scaled(self.weight)[0])

    @cached_property
    def theory_power(self) -> Tensor:
        """(K, D, D) G_l^a at the theory's exponent a = 1/(L-l+1), up to a factor."""
        return self.agop.relative_matrix(self.theory_exponent)

    @cached_property
    def root(self) -> Tensor:
        """(K, D, D) G_l^(1/2), up to a factor."""
        return self.agop.relative_matrix(0.5)

    @cached_property
    def gram_spectrum(self) -> Spectrum:
        """Spectrum of W^T W."""
        return spectrum(self.weight)

    @property
    def reads_inputs(self) -> bool:
        """Whether what enters the layer is the network's input, or patches of it."""
        return self.layer == 1

    @cached_property
    def change(self) -> Tensor:
        """(K, H, D) W minus the weights at step 0."""
        return self.weight - self.network.initial[self.layer - 1].to(torch.float64)

    @property
    def preactivation_factor(self) -> Tensor:
        """(K, R, H) factor of the outer products of df/dz; NaN where underflow has rounded it."""
        factor = self.network.preactivation_factors[self.layer]
        return factor.masked_fill(is_rounded(factor, self.network.computed_in)[:, None, None], torch.nan)

    @property
    def weight_gradient(self) -> Tensor:
        """(K, H, D) dloss/dW; NaN where underflow has rounded it."""
        gradient = self.network.weight_gradients[self.layer - 1]
        return gradient.masked_fill(is_rounded(gradient, self.network.computed_in)[:, None, None], torch.nan)

    @property
    def agop_rank(self) -> Tensor:
        """(K,) 0 where the AGOP is zero; NaN where it is not finite."""
        return torch.where(self.agop.finite, self.agop.rank.to(torch.float64), torch.nan)
