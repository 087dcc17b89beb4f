"""Memory of a stack of graphs: what each network holds from step to step, and what the passes of a few at a time take.

Torch-free, so the service may ask. Passes are of as many networks and samples as `graphs.cost` says, so that what they
take does not grow with the stack.
"""

import math

from nfa_kernels import names
from nfa_kernels.cost import DEVICE_BYTES, DeviceMemory
from nfa_kernels.graphs import cost
from nfa_kernels.graphs.graph import Graph
from nfa_kernels.graphs.nodes import Activated, Attention, Conv, Embedding, Flatten, Linear, Node, Norm, Pool, Readout

_CHECKED_ROWS = 128
"""Samples on which divergence is looked for between measured points, of which a stack keeps a copy."""


def held_bytes(
    graph: Graph, batch: int, samples: int, optimizer: str, dtype: str, *, wide_weights: bool = False
) -> int:
    """Memory that each network of a stack holds from step to step, about.

    Args:
        graph: of the network.
        batch: samples of one step.
        samples: of all sets, held-out ones included.
        optimizer: name of the rule.
        dtype: of the training.
        wide_weights: whether weights and the rule's state are float64 although the passes are float32.
    """
    size = 8 if dtype == "float64" else 4
    copies = 2 + names.OPTIMIZERS[optimizer].state_copies + (2 if wide_weights else 0)
    inputs = math.prod(graph.input.shape)
    # inputs as they were drawn, and in the dtype of the passes where that is another
    data = samples * ((8 if size == 8 else 12) * inputs + 32 * graph.outputs)
    rows = size * (inputs + graph.outputs) * (min(samples, _CHECKED_ROWS) + (batch if batch < samples else 0))
    factors = 8 * max(min(one.outputs, one.inputs) ** 2 for one in graph.measured)
    return (8 if wide_weights else size) * copies * cost.parameters(graph) + data + rows + factors


def pass_bytes(graph: Graph, batch: int, samples: int, dtype: str, lanes: int | None = None) -> int:
    """Memory that passes over a few networks of a stack take at most, forward and back, about.

    Args:
        graph: of the networks.
        batch: samples of one step.
        samples: of all sets.
        dtype: of the training.
        lanes: networks of the stack; None: as many as there may be.
    """
    size = 8 if dtype == "float64" else 4
    per_sample = numbers_at_once(graph)
    step, whole = (cost.samples_at_once(graph, some) for some in (batch, samples))
    training = size * per_sample * step * _lanes(graph, step, cost.TAPE_ELEMENTS, lanes)
    measuring = 8 * per_sample * whole * _lanes(graph, whole, cost.TAPE_ELEMENTS, lanes)
    tapped = cost.tapped_at_once(graph, samples)
    at_once = _lanes(graph, tapped.samples * (1 + tapped.outputs), cost.JACOBIAN_ELEMENTS, lanes)
    rows = sum(one.positions * one.outputs for one in graph.measured)
    back = tapped.outputs * (_most_on_the_way_back(graph) + rows)
    jacobians = 8 * at_once * tapped.samples * (per_sample + back)
    # one after the other
    return max(training, measuring, jacobians)


def device_memory(graph: Graph, batch: int, samples: int, dtype: str, held: int) -> DeviceMemory:
    """Memory of a stack of graphs on a device other than a CPU, where all networks take a step together.

    Args:
        graph: of the networks.
        batch: samples of one step.
        samples: of all sets.
        dtype: of the training.
        held: `held_bytes` of one network.
    """
    size = 8 if dtype == "float64" else 4
    per_sample, step = numbers_at_once(graph), cost.samples_at_once(graph, batch)
    widest = max(max(one.outputs, one.inputs) for one in graph.measured)
    doubles = 8 * (2 * cost.parameters(graph) + 6 * widest**2)
    # a block is cut by what leaves the layers, and works with so many times as much
    tapped = cost.tapped_at_once(graph, samples)
    rows = sum(one.positions * one.outputs for one in graph.measured)
    back = tapped.outputs * (_most_on_the_way_back(graph) + rows)
    jacobians = 8 * tapped.samples * (per_sample + back)
    passes = 8 * per_sample * cost.samples_at_once(graph, samples)
    measured = max(jacobians, passes)
    counted = 8 * min(
        tapped.samples * (1 + tapped.outputs) * cost.numbers_per_sample(graph),
        cost.samples_at_once(graph, samples) * cost.numbers_per_sample(graph),
    )
    most = max(measured, round(DEVICE_BYTES * measured / counted))
    return DeviceMemory(held + doubles + size * per_sample * step, measured, most)


def _lanes(graph: Graph, samples: int, elements: int, lanes: int | None) -> int:
    """Networks that are passed at once."""
    fitting = max(1, elements // (samples * cost.numbers_per_sample(graph)))
    return fitting if lanes is None else min(fitting, lanes)


def numbers_at_once(graph: Graph) -> int:
    """Numbers of one sample that are held at once at most: what the way back reads, and the largest layer's work."""
    kept = math.prod(graph.input.shape) + sum(_kept(node) for node in graph.walk())
    return kept + _most_on_the_way_back(graph)


def _most_on_the_way_back(graph: Graph) -> int:
    """Numbers of one sample that the largest layer's way back works with."""
    return max(_worked_with(node) for node in graph.walk())


def _kept(node: Node) -> int:
    """Numbers of one sample that leave a layer, or that its way back reads."""
    outputs = math.prod(node.outputs)
    match node:
        case Conv():
            return patch_numbers(node) + outputs
        case Activated():
            return 0 if node.activation == "relu" else outputs
        case Norm():
            return 2 * outputs
        case Attention():
            # what freed numbers of scores leave is seldom where others fit
            return 15 * outputs + 4 * node.heads * node.inputs[0] ** 2
        case Linear() | Pool() | Flatten() | Readout() | Embedding():
            return outputs
        case _:
            return 0


def _worked_with(node: Node) -> int:
    """Numbers of one sample on a layer's way back, what it reads aside."""
    entering, leaving = math.prod(node.inputs), math.prod(node.outputs)
    match node:
        case Conv():
            return entering + leaving + (turned_numbers(node) if node.unfolds_rows else patch_numbers(node))
        case Norm():
            return 4 * leaving
        case Attention():
            return 12 * leaving + 4 * node.heads * node.inputs[0] ** 2
        case _:
            return entering + 2 * leaving


def patch_numbers(node: Conv) -> int:
    """Numbers of one sample in the unfolded patches that a convolution reads."""
    channels, high, _ = node.inputs
    _, down, across = node.outputs
    if node.unfolds_rows:
        return node.kernel * channels * (high + node.before + node.after) * across
    return channels * node.kernel**2 * down * across


def turned_numbers(node: Conv) -> int:
    """The same of the convolution on its way back."""
    channels, down, _ = node.outputs
    return node.kernel * channels * (down + 2 * (node.kernel - 1) - node.before - node.after) * node.inputs[2]
