"""What the metrics of a stack of graphs share: the views of `nfa_kernels.views`, read from a program.

What no theorem gives a meaning is NaN: the residual at unit scale, and imbalances; see `graphs.nodes.Measured`.
"""

import math
from functools import cached_property

import torch
from torch import Tensor

from nfa_kernels.asked import Asked
from nfa_kernels.balance import Imbalance, imbalance, layer_imbalance
from nfa_kernels.classification import log_gain, without_zeros
from nfa_kernels.graphs.nodes import Activated, Conv, Linear
from nfa_kernels.native.linear_networks import Gradients
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.program import Params, Tapped
from nfa_kernels.scaling import largest_entry
from nfa_kernels.spectra import Spectrum, spectrum
from nfa_kernels.tangent_kernel import Kernel, kernel_of
from nfa_kernels.taped import Taped
from nfa_kernels.views import LayerView, NetworkView


class ProgramView(NetworkView):
    """A stack of graphs at one step. Weights are the matrices of the measured layers, in forward order."""

    def __init__(self, program: GraphProgram, params: Params, asked: Asked) -> None:
        self.program = program
        self._params = tuple(array.to(asked.data.x.dtype) for array in params)
        initial = None if asked.initial is None else self._of_maps(asked.initial)
        self._begin(params, self._of_maps(params), initial, asked)

    def _of_maps(self, arrays: Params) -> Params:
        """What lies at the places of the measured layers' matrices."""
        return tuple(arrays[one.parameter] for one in self.program.measured)

    @property
    def _multipliers(self) -> tuple[float, ...]:
        """c of every measured layer: the network computes with c W."""
        return tuple(self.program.multipliers[one.parameter] for one in self.program.measured)

    @property
    def weights(self) -> Params:
        """W of every measured layer in float64."""
        return tuple(self.weight(one.number) for one in self.program.measured)

    @cached_property
    def _thin(self) -> Gradients | None:
        """Gradients of graphs are found by themselves."""
        return None

    @property
    def weight_gradients(self) -> Params:
        """Those with respect to W of every measured layer, in float64."""
        return self._of_maps(self.gradients_and_loss[0])

    @cached_property
    def gradients_and_loss(self) -> tuple[Params, Tensor]:
        """Gradients of the data loss on the whole training set, and the loss (K,)."""
        x, y = self.data.x, self.data.y.to(self.data.x.dtype)
        gradients, loss = self.program.gradients_and_loss(self._params, x, y, self.loss)
        return tuple(gradient.to(torch.float64) for gradient in gradients), loss.to(torch.float64)

    @cached_property
    def imbalance(self) -> Imbalance:
        """Of a chain of maps and activations; NaN of any other graph."""
        if self.program.graph.has_imbalance:
            return imbalance(self.weights)
        undefined = torch.full_like(self.data.zero_loss, torch.nan)
        return Imbalance(undefined, undefined)

    @cached_property
    def tapped(self) -> Tapped:
        """Outputs, and factors at every asked layer; of a linear network always also at the first."""
        layers = {*self.layers} if self._needs.agop or self._needs.preactivations else set()
        if self.program.graph.is_linear:
            layers.add(1)
        return self.program.tapped(self._params, self.data.x, sorted(layers))

    @cached_property
    def spectra(self) -> dict[int, Spectrum]:
        """Spectrum of the AGOP at every tapped layer; undefined where it may be rounding, or outputs are no numbers."""
        found = {layer: self._spectrum(layer, factor) for layer, factor in self.tapped.factors.items()}
        return {layer: one.without(self._is_doubtful(layer)) for layer, one in found.items()}

    @cached_property
    def _log_sizes(self) -> Tensor:
        """(L, K) log of the largest entry of every measured layer; 0 where layers are not simply multiplied."""
        weights = zip(self.weights, self._multipliers, strict=True)
        sizes = torch.stack([largest_entry(weight * c) for weight, c in weights]).log()
        return torch.zeros_like(sizes) if self.program.graph.is_bent else sizes

    @cached_property
    def _is_computed(self) -> Tensor:
        """(K,) whether every output is a number."""
        return self.tapped.outputs.isfinite().flatten(1).all(1)

    def _spectrum(self, layer: int, factor: Tensor) -> Spectrum:
        one = self.program.measured[layer - 1]
        rows = self.data.x.shape[1] * one.positions * self.program.graph.outputs
        weight = self.program.weight(self._params, layer) * self._multipliers[layer - 1]
        return spectrum(torch.bmm(factor, weight), rows, min(one.outputs, one.inputs))

    @cached_property
    def preactivation_factors(self) -> dict[int, Tensor]:
        """Factors of the outer products of df/dz at every tapped layer."""
        factors = {layer: factor.to(torch.float64) for layer, factor in self.tapped.factors.items()}
        return {at: one.masked_fill(self._is_doubtful(at)[:, None, None], torch.nan) for at, one in factors.items()}

    @cached_property
    def train_loss(self) -> Tensor:
        """(K,); from a pass over the samples that somebody needs anyway, if there is one."""
        if self._needs.gradients:
            return self.gradients_and_loss[1]
        is_tapped = self.layers and (self._needs.agop or self._needs.preactivations)
        outputs = self.tapped.outputs if is_tapped else self._outputs(self.data.x)
        return self.loss.value(outputs.to(torch.float64), self.data.y)

    def _outputs(self, x: Tensor) -> Tensor:
        """(K, N, C) f(x) in float64."""
        return self.program.forward(self._params, x).to(torch.float64)

    @property
    def taped(self) -> Taped:
        """The stack as a function of all its parameters."""
        return self.program.taped(self._all)

    def _tangent_kernel(self, params: Params) -> Kernel:
        return kernel_of(self.program.taped(params), self._first_x)

    @property
    def _gains(self) -> Tensor:
        """(.., K) log of what every array of parameters multiplies numbers by; of a chain, a map of zeros hides all."""
        gains = torch.stack([log_gain(array.to(torch.float64)) for array in self.program.effective(self._all)])
        if self.program.graph.is_bent:
            return without_zeros(gains)
        is_map = torch.zeros(len(gains), 1, dtype=torch.bool, device=gains.device)
        is_map[[one.parameter for one in self.program.measured]] = True
        has_biases = any(one.role == "bias" for one in self.program.parameters)
        return without_zeros(gains) if has_biases else torch.where(is_map, gains, without_zeros(gains))

    def _input_logs(self, x: Tensor) -> Tensor:
        """(K, N) log of the largest number in every sample's input; 0 of tokens, which are names."""
        return x.new_zeros(x.shape[:2]) if self.program.graph.input.vocabulary else super()._input_logs(x)

    @property
    def _degree(self) -> int:
        nodes = self.program.graph.walk()
        return 2 ** sum(isinstance(node, Activated) and node.activation == "quadratic" for node in nodes)

    @property
    def modes(self) -> Tensor:
        """(K,) end-to-end singular values above the threshold; NaN unless the graph is linear."""
        if self.program.graph.is_linear:
            return self._modes()
        return torch.full_like(self.data.zero_loss, torch.nan)


class ProgramLayerView(LayerView):
    """One measured layer of a stack of graphs at one step."""

    def __init__(self, network: ProgramView, layer: int) -> None:
        self._begins = isinstance(network.program.graph.nodes[0], Linear | Conv)
        program = network.program
        self.measured = program.measured[layer - 1]
        exponent = 1 / self.measured.above
        # read only of chains, in which all layers behind this one lie between it and the outputs
        behind = (program.multipliers[one.parameter] for one in program.measured[layer - 1 :])
        self._begin(network, layer, exponent, math.prod(c * c for c in behind) ** exponent)

    @property
    def residual(self) -> Tensor:
        """(K,) what the theorem states is zero; NaN where none does."""
        return super().residual if self.measured.has_residual else torch.full_like(self.pair.gram_norm, torch.nan)

    @property
    def imbalance(self) -> Tensor:
        """(K,) |D_l| with the map that reads this one's outputs; NaN without such a neighbour."""
        reader, weight = self.measured.next, self.weight
        weights = (weight,) if reader is None else (weight, self.network.weight(reader))
        return layer_imbalance(weights, 1)

    @property
    def reads_inputs(self) -> bool:
        """Of the first map where nothing stands before it."""
        return self.layer == 1 and self._begins
