"""A stack of networks that are a graph of layers: forward and back through operations that are batched over K.

Each kind of layer has its way back written out (`operations`), so nothing is recorded and what is no longer read is
written over. Memory is bounded by taking a few networks, or a few samples, at a time.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.at_once import lanes_in_block, lanes_in_step
from nfa_kernels.graphs import cost
from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import Measured, Parameter
from nfa_kernels.graphs.roles import roles
from nfa_kernels.losses import Loss
from nfa_kernels.native.taps import Taps, taps_of
from nfa_kernels.parameterizations import Role, Scaling, attention_power, scaling
from nfa_kernels.programs import initial as initial_parameters
from nfa_kernels.programs.folding import folded
from nfa_kernels.programs.operations import OPERATIONS
from nfa_kernels.programs.passing import Backward, Flow, Forward, Kept, entering, wanted
from nfa_kernels.programs.program import Params, Tapped
from nfa_kernels.programs.recorded import Pass
from nfa_kernels.taped import Taped


class GraphProgram:
    """The program of a graph.

    Args:
        graph: of layers.
        parameterization: how parameters are scaled with the widths; see `nfa_kernels.parameterizations`.
    Raises:
        ValueError: an unknown parameterisation.
    """

    def __init__(self, graph: Graph, parameterization: str = "standard") -> None:
        self.graph, self.parameterization = graph, parameterization
        self._roles = roles(graph)
        self.multipliers = tuple(one.multiplier for one in self.scalings())
        """c of every parameter: what the network computes with is c times it."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What is trained, in the order of `Params`."""
        return self.graph.parameters

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The matrices that metrics are about, in forward order."""
        return self.graph.measured

    def initial(
        self, scheme: str, seed: int, scale: float = 1.0, *, first: float = 1.0, last: float = 1.0
    ) -> list[Tensor]:
        """Parameters of one network; see `nfa_kernels.programs.initial`."""
        drawn = initial_parameters.initial(self.graph, scheme, seed, scale, first=first, last=last)
        if scheme not in names.FAN_IN_SCHEMES:
            return drawn
        factors = (one.init for one in self.scalings())
        return [array if c == 1 else c * array for array, c in zip(drawn, factors, strict=True)]

    def given(self, arrays: Mapping[str, object], scale: float = 1.0) -> list[Tensor]:
        """Parameters of one network from arrays by name; see `nfa_kernels.programs.initial`."""
        return initial_parameters.given(self.parameters, arrays, scale)

    def scalings(self, steps: str = "gradient") -> tuple[Scaling, ...]:
        """Of every parameter, under rules whose steps follow the gradient, its sign, or are orthogonal."""
        return tuple(
            scaling(self.parameterization, role, *_fans(one, role), steps)
            for one, role in zip(self.parameters, self._roles, strict=True)
        )

    def effective(self, params: Params) -> Params:
        """c times every parameter: what the network computes with."""
        if self.parameterization == "standard":
            return params
        return tuple(one if c == 1 else one * c for one, c in zip(params, self.multipliers, strict=True))

    def weight(self, params: Params, layer: int) -> Tensor:
        """(K, out, in) W of a measured layer; a kernel as (out, c k k)."""
        self._check_layers((layer,))
        return params[self.measured[layer - 1].parameter]

    def named(self, params: Params) -> dict[str, Tensor]:
        """Every parameter by name, (K, ..) in its own shape."""
        return {
            one.name: array.reshape(len(array), *one.shape) for one, array in zip(self.parameters, params, strict=True)
        }

    def check(self, params: Params, x: Tensor, y: Tensor | None = None) -> None:
        """Refuse parameters or data that do not fit the graph, or each other.

        Raises:
            ValueError: names the argument, its shape or dtype, and what it should be.
        """
        if len(params) != len(self.parameters):
            raise ValueError(f"params: received {len(params)} arrays, needed are {len(self.parameters)}")
        stack = len(x)
        for one, array in zip(self.parameters, params, strict=True):
            needed = (stack, *one.matrix)
            if tuple(array.shape) != needed:
                raise ValueError(f"{one.name}: received shape {tuple(array.shape)}, needed is {needed}")
            if not self.graph.input.vocabulary and array.dtype != x.dtype:
                raise ValueError(f"{one.name}: is {array.dtype}, x is {x.dtype}; they must be equal")
        given = (("x", x, self.graph.input.shape), ("y", y, (self.graph.outputs,)))
        for name, array, shape in given:
            if array is not None and (tuple(array.shape[2:]) != shape or array.ndim < 3 or array.shape[1] == 0):
                raise ValueError(f"{name}: received shape {tuple(array.shape)}, needed is (K, N >= 1, *{shape})")

    def taped(self, params: Params) -> Taped:
        """The stack as a function of its parameters that can be differentiated twice."""

        def outputs(params: Params, x: Tensor) -> Tensor:
            run = Pass(self.effective(params), (), attention_power(self.parameterization))
            return run.through(self.graph.nodes, x)

        return Taped(outputs, tuple(array.to(torch.float64) for array in params), self._elements)

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C) for inputs x (K, N, ..); no derivatives are kept."""
        size = cost.samples_at_once(self.graph, x.shape[1])
        with torch.no_grad():
            parts = [
                torch.cat([self._passed(some, part, keeps=False)[0] for part in of_some.split(size, 1)], 1)
                for some, of_some in self._lanes(self.effective(params), x, size * self._elements)
            ]
        return torch.cat(parts)

    def gradients(self, params: Params, x: Tensor, y: Tensor, loss: Loss) -> Params:
        """Gradients of the data loss with respect to every parameter, in the parameters' shapes."""
        return self._gradients_and_loss(params, x, y, loss, is_step=True)[0]

    def gradients_and_loss(self, params: Params, x: Tensor, y: Tensor, loss: Loss) -> tuple[Params, Tensor]:
        """The gradients, and the loss (K,) at the given parameters.

        Args:
            params: each (K, rows, columns).
            x: (K, N, ..) inputs.
            y: (K, N, ..) targets as the loss reads them.
            loss: value and output gradient, means over the samples.
        """
        return self._gradients_and_loss(params, x, y, loss, is_step=False)

    def _gradients_and_loss(
        self, params: Params, x: Tensor, y: Tensor, loss: Loss, *, is_step: bool
    ) -> tuple[Params, Tensor]:
        """The same, of a step or of what is measured, which differ in how many networks a device takes at once."""
        size = cost.samples_at_once(self.graph, x.shape[1])
        found: list[Params] = []
        values, at = [], 0
        with torch.no_grad():
            for some, of_some in self._lanes(self.effective(params), x, size * self._elements, is_step=is_step):
                targets = y[at : at + len(of_some)]
                at += len(of_some)
                gradients, value = self._of_samples(some, of_some.split(size, 1), targets.split(size, 1), loss)
                found.append(self.effective(gradients))
                values.append(value)
        if len(found) == 1:
            return found[0], values[0]
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True)), torch.cat(values)

    def _of_samples(
        self, params: Params, x: Sequence[Tensor], y: Sequence[Tensor], loss: Loss
    ) -> tuple[Params, Tensor]:
        """Gradients and loss of a few networks, summed over parts of the samples; what is kept is of one part."""
        samples = sum(part.shape[1] for part in x)
        found: list[Tensor] = []
        total = torch.zeros(())
        for some, targets in zip(x, y, strict=True):
            (outputs, kept), share = self._passed(params, some, keeps=True), some.shape[1] / samples
            value, of_outputs = loss.value(outputs, targets), loss.gradient(outputs, targets)
            if share != 1:
                value, of_outputs = value * share, of_outputs * share
            back = Backward(OPERATIONS, params, self._power, self._trained)
            back.through(self.graph.nodes, kept, Flow(of_outputs.mT, is_free=True), needed=False)
            gradients = [back.gradients[place] for place in range(len(params))]
            if not found:
                found, total = gradients, value
                continue
            total = total + value
            for one, more in zip(found, gradients, strict=True):
                one.add_(more)
        return tuple(found), total

    def _passed(self, params: Params, x: Tensor, *, keeps: bool) -> tuple[Tensor, Kept]:
        """Outputs of a few networks for inputs (K, N, ..), and what the way back reads."""
        forward = Forward(OPERATIONS, params, self._power, keeps=keeps)
        outputs, kept = forward.through(self.graph.nodes, entering(self.graph, x))
        return outputs.values.mT, kept

    def tapped(
        self, params: Params, x: Tensor, layers: Collection[int], block_elements: int = cost.JACOBIAN_ELEMENTS
    ) -> Tapped:
        """Outputs, and factors of averaged (df/dz)^T (df/dz) at measured layers.

        Args:
            params: each (K, rows, columns).
            x: (K, N, ..) inputs over which the outer products are averaged.
            layers: numbers of measured layers, from 1.
            block_elements: bound on the numbers of one block: of a few samples, and of their Jacobians.
        Raises:
            ValueError: a layer number that no measured layer has.
        """
        self._check_layers(layers)
        taps = taps_of(self.graph, self._power, [*layers], params) if layers else None
        if taps is None:
            size, outputs = cost.tapped_at_once(self.graph, x.shape[1], block_elements)
            per_lane = size * (1 + outputs) * self._elements
        else:
            size, outputs = cost.compiled_taps_at_once(self.graph, x.shape[1], layers, block_elements)
            per_lane = size * outputs * taps.numbers
        scaled = self.effective(params)
        parts = [
            self._tapped(some, of_some.split(size, 1), layers, outputs, taps)
            for some, of_some in self._lanes(scaled, x, per_lane, block_elements)
        ]
        return Tapped(
            torch.cat([part.outputs for part in parts]),
            {layer: torch.cat([part.factors[layer] for part in parts]) for layer in layers},
        )

    def _tapped(
        self, params: Params, blocks: Sequence[Tensor], layers: Collection[int], at_once: int, taps: Taps | None
    ) -> Tapped:
        """The same of a few networks, folded block by block over the samples and so many outputs."""
        found: list[Tensor] = []
        factors: dict[int, Tensor] = {}
        scale, reached = sum(block.shape[1] for block in blocks) ** -0.5, wanted(self.graph, layers)
        with torch.no_grad():
            for block in blocks:
                if taps is not None:
                    found.append(self._tapped_compiled(params, block, at_once, scale, taps, factors))
                    continue
                outputs, kept = self._passed(params, block, keeps=bool(layers))
                found.append(outputs)
                for first in range(0, outputs.shape[2] if layers else 0, at_once):
                    some = range(first, min(first + at_once, outputs.shape[2]))
                    back = Backward(OPERATIONS, params, self._power, reached, layers, block.shape[1])
                    delta = Flow(_of_outputs(outputs, some, scale), is_same=True)
                    back.through(self.graph.nodes, kept, delta, needed=False)
                    for layer, rows in back.taps.items():
                        factors[layer] = folded(factors.get(layer), rows)
        # as rounded as the passes were: what counts as zero follows from the dtype
        dtype = params[0].dtype
        return Tapped(torch.cat(found, 1), {layer: factor.to(dtype) for layer, factor in factors.items()})

    def _tapped_compiled(
        self, params: Params, block: Tensor, at_once: int, scale: float, taps: Taps, factors: dict[int, Tensor]
    ) -> Tensor:
        """Outputs of a block of samples by compiled code; its derivatives are folded into the factors."""
        outputs = block.new_empty(0)
        for first in range(0, self.graph.outputs, at_once):
            some = range(first, min(first + at_once, self.graph.outputs))
            outputs, rows = taps(params, block, some, scale)
            for layer, own in rows.items():
                factors[layer] = folded(factors.get(layer), own)
        return outputs

    def _lanes(
        self, params: Params, x: Tensor, per_lane: int, elements: int = cost.TAPE_ELEMENTS, *, is_step: bool = False
    ) -> Iterator[tuple[Params, Tensor]]:
        """A few networks at a time, as many as keep about so many numbers at once; more on a device."""
        size = x.element_size()
        lanes = (lanes_in_step if is_step else lanes_in_block)(x, size * per_lane, size * elements)
        for at in range(0, len(x), lanes):
            some = slice(at, at + lanes)
            yield tuple(array[some] for array in params), x[some]

    @cached_property
    def _elements(self) -> int:
        """Numbers that leave the layers for one sample."""
        return cost.numbers_per_sample(self.graph)

    @cached_property
    def _trained(self) -> frozenset[str]:
        """Paths of the layers that gradients reach."""
        return wanted(self.graph)

    @property
    def _power(self) -> float:
        """Of a head's width, by which scores are divided."""
        return attention_power(self.parameterization)

    def _check_layers(self, layers: Collection[int]) -> None:
        if not all(1 <= layer <= len(self.measured) for layer in layers):
            raise ValueError(f"layers: received {[*layers]}, allowed are 1..{len(self.measured)}")


def _fans(one: Parameter, role: Role) -> tuple[int, int]:
    """Numbers that an output of it is a sum over, and its outputs, as `scaling` reads them."""
    rows, columns = one.matrix
    return (1, columns) if role == "table" else (columns, rows)


def _of_outputs(outputs: Tensor, some: range, scale: float) -> Tensor:
    """(K, C, R) a number at one of R outputs and zeros elsewhere, for each of them, whatever the sample."""
    stack, _, width = outputs.shape
    each = torch.eye(width, dtype=outputs.dtype, device=outputs.device)
    return (scale * each[:, some.start : some.stop]).expand(stack, -1, -1)
