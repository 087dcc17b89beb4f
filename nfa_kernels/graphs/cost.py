"""Floating-point operations of a graph's training step and measurement; torch-free, so the service may ask.

A multiply-add counts as two operations. As in `nfa_kernels.cost`, whose counts are of fully connected networks.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

from nfa_kernels import names
from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import Attention, Residual

_ELEMENTWISE_FLOPS = 8
"""About what each number that leaves a layer costs beside its products, forward and back."""
TAPE_ELEMENTS = 1 << 21
"""Numbers that leave layers, of the networks and samples that are passed forward and back at once: fewer would cost
more calls than a smaller array saves."""
JACOBIAN_ELEMENTS = 1 << 22
"""The same while measuring, with the Jacobians of these samples."""


def parameters(graph: Graph) -> int:
    """Number of trained numbers of one network."""
    return sum(one.size for one in graph.parameters)


def numbers_per_sample(graph: Graph) -> int:
    """Numbers that enter the network and leave its layers for one sample: what is kept on the way back."""
    nodes = [node for node in graph.walk() if not isinstance(node, Residual)]
    scores = sum(2 * node.heads * node.inputs[0] ** 2 for node in nodes if isinstance(node, Attention))
    mapped = sum(one.positions * one.outputs for one in graph.measured)
    return math.prod(graph.input.shape) + sum(math.prod(node.outputs) for node in nodes) + scores + mapped


def samples_at_once(graph: Graph, samples: int) -> int:
    """How many samples of a network are passed at once: what the network alone decides, never its stack."""
    return max(1, min(samples, TAPE_ELEMENTS // numbers_per_sample(graph)))


class TappedAtOnce(NamedTuple):
    """What is measured at once of one network: what it alone decides, as the rounding of factors follows from it."""

    samples: int
    outputs: int


def tapped_at_once(graph: Graph, samples: int, elements: int = JACOBIAN_ELEMENTS) -> TappedAtOnce:
    """Samples, and outputs whose Jacobians go back together.

    Args:
        graph: of the network.
        samples: all of them.
        elements: bound on the numbers of one block.
    """
    numbers = numbers_per_sample(graph)
    # all outputs together where they fit: what they share is computed once
    outputs = max(1, min(graph.outputs, elements // numbers - 1))
    return TappedAtOnce(max(1, min(samples, elements // ((1 + outputs) * numbers))), outputs)


def compiled_taps_at_once(graph: Graph, samples: int, layers: Collection[int], elements: int) -> TappedAtOnce:
    """The same where compiled code keeps nothing but what is asked for: derivatives at these measured layers."""
    numbers = sum(one.positions * one.outputs for one in graph.measured if one.number in layers)
    outputs = max(1, min(graph.outputs, elements // numbers))
    return TappedAtOnce(max(1, min(samples, elements // (outputs * numbers))), outputs)


def forward_flops(graph: Graph) -> int:
    """Operations of the products of one sample's way forward."""
    maps = sum(2 * one.positions * one.outputs * one.inputs for one in graph.measured)
    # queries times keys, and what comes out times values
    scores = sum(4 * node.inputs[0] ** 2 * node.inputs[1] for node in graph.walk() if isinstance(node, Attention))
    return maps + scores


def step_flops(graph: Graph, samples: int, optimizer: str) -> int:
    """Operations of one training step of one network.

    Args:
        graph: of the network.
        samples: of one step, the batch size or all.
        optimizer: name of the rule.
    """
    first = graph.measured[0]
    # nothing is trained below the first map unless a table or a normalisation is
    spared = 2 * first.positions * first.outputs * first.inputs if first.parameter == 0 else 0
    products = 3 * forward_flops(graph) - spared
    update = names.OPTIMIZERS[optimizer].flops_per_parameter * parameters(graph)
    return samples * (products + _ELEMENTWISE_FLOPS * numbers_per_sample(graph)) + update


def measurement_flops(graph: Graph, layers: tuple[int, ...], samples: int) -> int:
    """Operations of one measurement of one network at these layers, default metrics; factorisations about."""
    passes = 3 + 2 * graph.outputs
    found = samples * passes * (forward_flops(graph) + _ELEMENTWISE_FLOPS * numbers_per_sample(graph))
    for one in (graph.measured[layer - 1] for layer in layers):
        rows = samples * one.positions * graph.outputs
        thin = min(rows, one.outputs, one.inputs)
        found += 2 * rows * one.outputs**2 + 2 * min(rows, one.outputs) * one.outputs * one.inputs
        found += 20 * thin**2 * max(one.outputs, one.inputs) + 4 * one.outputs * one.inputs * thin + 2_000 * thin
    return found
