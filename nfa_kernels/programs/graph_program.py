"""A stack of networks that are a graph of layers: derivatives by torch's tape over operations that are batched over K.

The sum of the losses of all networks is differentiated: no network's loss depends on another's parameters, so one way
back gives every network its own gradients. Memory is bounded by taking a few networks, or a few samples, at a time.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from nfa_kernels import names
from nfa_kernels.agop import folded
from nfa_kernels.graphs import cost
from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import Measured, Parameter
from nfa_kernels.graphs.roles import roles
from nfa_kernels.losses import Loss
from nfa_kernels.parameterizations import Role, Scaling, attention_power, scaling
from nfa_kernels.programs import initial as initial_parameters
from nfa_kernels.programs.operations import Pass
from nfa_kernels.programs.program import Params, Tapped
from nfa_kernels.taped import Taped, fresh


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

    def _pass(self, params: Params, tapped: Collection[int] = (), *, is_twice: bool = False) -> Pass:
        """A pass with these parameters, not yet scaled."""
        return Pass(self.effective(params), tapped, attention_power(self.parameterization), is_twice=is_twice)

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
            return self._pass(params, is_twice=True).through(self.graph.nodes, x)

        return Taped(outputs, tuple(array.to(torch.float64) for array in params), self._elements)

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """Outputs (K, N, C) for inputs x (K, N, ..); no derivatives are kept."""
        size = cost.samples_at_once(self.graph, x.shape[1])
        with torch.no_grad():
            parts = [
                torch.cat([self._pass(some).through(self.graph.nodes, part) for part in of_some.split(size, 1)], 1)
                for some, of_some in self._lanes(params, x, size * self._elements)
            ]
        return torch.cat(parts)

    def gradients(self, params: Params, x: Tensor, y: Tensor, loss: Loss) -> Params:
        """Gradients of the data loss with respect to every parameter, in the parameters' shapes."""
        return self.gradients_and_loss(params, x, y, loss)[0]

    def gradients_and_loss(self, params: Params, x: Tensor, y: Tensor, loss: Loss) -> tuple[Params, Tensor]:
        """The gradients, and the loss (K,) at the given parameters.

        Args:
            params: each (K, rows, columns).
            x: (K, N, ..) inputs.
            y: (K, N, ..) targets as the loss reads them.
            loss: value and output gradient, means over the samples.
        """
        size = cost.samples_at_once(self.graph, x.shape[1])
        found: list[Params] = []
        values, at = [], 0
        with torch.inference_mode(False), torch.enable_grad():
            for some, of_some in self._lanes(params, x, size * self._elements):
                targets = y[at : at + len(of_some)]
                at += len(of_some)
                gradients, value = self._of_samples(some, of_some.split(size, 1), targets.split(size, 1), loss)
                found.append(gradients)
                values.append(value)
        if len(found) == 1:
            return found[0], values[0]
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True)), torch.cat(values)

    def _of_samples(
        self, params: Params, x: Sequence[Tensor], y: Sequence[Tensor], loss: Loss
    ) -> tuple[Params, Tensor]:
        """Gradients and loss of a few networks, summed over parts of the samples; a tape is kept of one part."""
        leaves = tuple(fresh(array).requires_grad_() for array in params)
        samples = sum(part.shape[1] for part in x)
        found: list[Tensor] = []
        total = torch.zeros(())
        for some, targets in zip(x, y, strict=True):
            outputs, share = self._pass(leaves).through(self.graph.nodes, fresh(some)), some.shape[1] / samples
            with torch.no_grad():
                value, of_outputs = loss.value(outputs, targets), loss.gradient(outputs, targets)
                if share != 1:
                    value, of_outputs = value * share, of_outputs * share
            gradients = torch.autograd.grad(outputs, leaves, of_outputs)
            if not found:
                found, total = [*gradients], value
                continue
            total = total + value
            with torch.no_grad():
                for one, more in zip(found, gradients, strict=True):
                    one.add_(more)
        return tuple(found), total

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
        per_output = sum(one.positions * one.outputs for one in (self.measured[layer - 1] for layer in layers))
        size = max(1, min(x.shape[1], block_elements // self._elements))
        # what the network alone decides, as the rounding of factors follows from it
        outputs = max(1, min(self.graph.outputs, block_elements // max(1, size * per_output)))
        parts = [
            self._tapped(some, of_some.split(size, 1), layers, outputs)
            for some, of_some in self._lanes(params, x, size * (self._elements + outputs * per_output), block_elements)
        ]
        return Tapped(
            torch.cat([part.outputs for part in parts]),
            {layer: torch.cat([part.factors[layer] for part in parts]) for layer in layers},
        )

    def _tapped(self, params: Params, blocks: Sequence[Tensor], layers: Collection[int], at_once: int) -> Tapped:
        """The same of a few networks, folded block by block over the samples and so many outputs."""
        outputs: list[Tensor] = []
        factors: dict[int, Tensor] = {}
        scale = sum(block.shape[1] for block in blocks) ** -0.5
        with torch.inference_mode(False), torch.enable_grad():
            params = tuple(fresh(array) for array in params)
            for block in blocks:
                run = self._pass(params, frozenset(layers))
                found = run.through(self.graph.nodes, fresh(block))
                outputs.append(found.detach())
                for first in range(0, found.shape[2] if layers else 0, at_once):
                    some = range(first, min(first + at_once, found.shape[2]))
                    for layer, rows in _jacobians(run.taps, found, some, scale).items():
                        factors[layer] = folded(factors.get(layer), rows)
        return Tapped(torch.cat(outputs, 1), factors)

    def _lanes(
        self, params: Params, x: Tensor, per_lane: int, elements: int = cost.TAPE_ELEMENTS
    ) -> Iterator[tuple[Params, Tensor]]:
        """A few networks at a time, as many as keep about so many numbers at once."""
        lanes = max(1, elements // per_lane)
        for at in range(0, len(x), lanes):
            some = slice(at, at + lanes)
            yield tuple(array[some] for array in params), x[some]

    @cached_property
    def _elements(self) -> int:
        """Numbers that leave the layers for one sample."""
        return cost.numbers_per_sample(self.graph)

    def _check_layers(self, layers: Collection[int]) -> None:
        if not all(1 <= layer <= len(self.measured) for layer in layers):
            raise ValueError(f"layers: received {[*layers]}, allowed are 1..{len(self.measured)}")


def _fans(one: Parameter, role: Role) -> tuple[int, int]:
    """Numbers that an output of it is a sum over, and its outputs, as `scaling` reads them."""
    rows, columns = one.matrix
    return (1, columns) if role == "table" else (columns, rows)


def _jacobians(taps: Mapping[int, Tensor], outputs: Tensor, some: range, scale: float) -> dict[int, Tensor]:
    """(K, R, out) Jacobians of some of the outputs (K, N, C) with respect to z, times a factor; R = len(some) N P."""
    found: dict[int, list[Tensor]] = {layer: [] for layer in taps}
    for output in some:
        of_output = torch.zeros_like(outputs[:1, :1])
        of_output[..., output] = scale
        back = torch.autograd.grad(outputs, tuple(taps.values()), of_output.expand_as(outputs), retain_graph=True)
        for layer, jacobian in zip(taps, back, strict=True):
            # an image's features lie before its positions, a token's behind
            last = jacobian.movedim(2, -1) if jacobian.ndim == 5 else jacobian
            found[layer].append(last.flatten(1, -2))
    return {layer: torch.cat(rows, 1) if len(rows) > 1 else rows[0] for layer, rows in found.items()}
