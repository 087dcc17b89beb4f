"""Floating-point operations and bytes of a training step and of a measurement; torch-free, so the service may ask.

A multiply-add counts as two operations. The counts are of the algorithms in this package: the moment path of linear
networks costs the same at every number of samples.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nfa_kernels import agop_ways, names

COMPILED_FLOPS_AT_ONCE = 5e8
"""Of a call of compiled steps, about 20 ms of a core: who waits for a trainer's answer does not wait longer."""
CHECK_STEPS = 64
"""Optimiser steps between two looks at whether a network has diverged."""
LOOKS_AT_ONCE, LOOK_BYTES = 64, 4 << 20
"""Looks that a stack goes through in one call, and bytes that weights and data may take for them: small networks train
for less time between two looks than it takes to look at them one by one."""


@dataclass(frozen=True)
class Shape:
    """What the cost of one network depends on."""

    widths: tuple[int, ...]
    """(d_0, .., d_L)."""
    samples: int
    """Rows of one step: the batch size, or all samples."""
    is_linear: bool
    full_batch: bool
    optimizer: str = "gd"
    dtype: str = "float64"
    wide_weights: bool = False
    """Weights and the optimiser's state are float64 although the passes are float32."""


def parameters(widths: Sequence[int]) -> int:
    """Number of weights of one network."""
    return sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))


def step_flops(shape: Shape) -> int:
    """Operations of one training step of one network."""
    update = names.OPTIMIZERS[shape.optimizer].flops_per_parameter * parameters(shape.widths)
    inputs, outputs = shape.widths[0], shape.widths[-1]
    if not shape.is_linear:
        # forward, weight gradients, and backward through all layers but the first
        products = 3 * parameters(shape.widths) - shape.widths[0] * shape.widths[1]
        return 2 * shape.samples * products + update
    # partial products, the gradient's way back, and outer products, all through the thin side; see products.py
    pairs = list(pairwise(shape.widths))
    thin, inner = (outputs, pairs[:-1]) if outputs <= inputs else (inputs, pairs[1:])
    chains = 3 * thin * sum(fan_in * fan_out for fan_in, fan_out in inner)
    residual = outputs * inputs * (inputs if shape.full_batch else 2 * shape.samples)
    return 2 * (chains + residual) + update


def measurement_flops(shape: Shape, layers: int, samples: int) -> int:
    """Operations of one measurement of one network, default metrics, on all its samples; factorisations about."""
    inputs, outputs, widest = shape.widths[0], shape.widths[-1], max(shape.widths)
    rows = min(samples, inputs + outputs) if shape.is_linear else samples
    gradient = 2 * rows * 3 * parameters(shape.widths)
    gram = 4 * sum(fan_in * fan_out * min(fan_in, fan_out) for fan_in, fan_out in pairwise(shape.widths))
    if shape.is_linear:
        agop, eigenvalues = layers * (2 * outputs * widest**2 + 20 * min(outputs, widest) * widest**2), outputs
    else:
        agop, eigenvalues = agop_flops(shape.widths, range(1, layers + 1), rows), rows * outputs
    return gradient + gram + agop + layers * 2_000 * min(eigenvalues, widest)


def agop_flops(widths: Sequence[int], layers: Sequence[int], samples: int) -> int:
    """Operations of the AGOPs at these layers' inputs, with Jacobians on their way down, of networks not linear."""
    below = [layer for layer in layers if layer < len(widths) - 1]
    products = parameters(widths[min(below) : -1]) if below else 0
    sums = sum(agop_ways.operations(widths, layer, samples)[agop_ways.way(widths, layer, samples)] for layer in below)
    return 2 * samples * widths[-1] * products + int(2 * sums)


def alignment_flops(shape: Shape, samples: int) -> int:
    """Operations of the products that an alignment of the first layer needs at least, of a network that is not linear.

    Forward, Jacobians from the outputs down to the inputs, and F^T F of the factor F.
    """
    inputs, outputs = shape.widths[0], shape.widths[-1]
    forward = samples * parameters(shape.widths)
    jacobians = samples * outputs * parameters(shape.widths[:-1])
    return 2 * (forward + jacobians + samples * outputs * inputs**2)


def lane_bytes(shape: Shape, samples: int) -> int:
    """Memory that one network of a stack holds while it trains, about."""
    size = 8 if shape.dtype == "float64" else 4
    copies = 4 + names.OPTIMIZERS[shape.optimizer].state_copies + (2 if shape.wide_weights else 0)
    weight_size = 8 if shape.wide_weights else size
    activations = 0 if shape.is_linear and shape.full_batch else 3 * shape.samples * sum(shape.widths)
    data = samples * (shape.widths[0] + 3 * shape.widths[-1])
    # whole sets: inputs and targets in both dtypes, and their outputs in float64 and in the passes'
    return weight_size * copies * parameters(shape.widths) + size * activations + (2 * size + 16) * data


DEVICE_BYTES = 1 << 28
"""Of the arrays of networks that a device other than a CPU measures at once; see `nfa_kernels.at_once`."""


@dataclass(frozen=True)
class DeviceMemory:
    """What a stack takes of the memory of a device other than a CPU, about, and seldom less."""

    lane: int
    """Held by each network, with what its step works with: all take a step together."""
    measured: int
    """Worked with while one network is measured."""
    most_measured: int
    """The same of any number of networks: these are measured in blocks."""

    def bytes_of(self, lanes: int) -> int:
        """Of a stack of so many."""
        return lanes * self.lane + min(lanes * self.measured, self.most_measured)

    def lanes_within(self, memory_bytes: int) -> int:
        """The most networks whose stack takes no more; 0 where one takes more."""
        unblocked = memory_bytes // (self.lane + self.measured)
        return max(unblocked, (memory_bytes - self.most_measured) // self.lane)


_MEASURED_COPIES = 3
"""Arrays as large as the Jacobians of a block that are there at once."""


def device_memory(shape: Shape, samples: int) -> DeviceMemory:
    """Memory of a stack of fully connected networks on a device; samples of all sets."""
    widest, jacobians = max(shape.widths), 0
    if not shape.is_linear:
        jacobians = 8 * samples * shape.widths[-1] * widest
    # weights and gradients in float64; Gram matrices, eigenvectors and powers of the layers that are measured
    doubles = 8 * (2 * parameters(shape.widths) + 6 * widest**2)
    passes = 0 if shape.is_linear else 24 * samples * sum(shape.widths)
    block = _MEASURED_COPIES * max(DEVICE_BYTES, jacobians)
    return DeviceMemory(
        lane_bytes(shape, samples) + doubles, _MEASURED_COPIES * jacobians + passes, block + 3 * DEVICE_BYTES
    )


CURVATURE_ELEMENTS = 1 << 20
"""Numbers that leave layers, of the networks and samples whose second derivatives are on the tape at once."""
BASIS_ELEMENTS = 1 << 23
"""Numbers of the vectors that Lanczos holds for one network, unless eight of them are more."""
TAPED_BYTES = 8 * 12
"""For each number of a layer's outputs: about a dozen arrays are on the tape of a gradient, to be gone back through."""
_PRODUCTS = 48
"""Products with the Hessian until its largest eigenvalue is known, of this order."""


def basis_vectors(parameters: int) -> int:
    """Vectors of a network's parameters that Lanczos holds at once: what the network alone decides."""
    return max(8, min(64, BASIS_ELEMENTS // parameters))


def samples_curved_at_once(samples: int, numbers_per_sample: int) -> int:
    """Samples of a network whose second derivatives are on the tape at once: what the network alone decides."""
    return max(1, min(samples, CURVATURE_ELEMENTS // numbers_per_sample))


@dataclass(frozen=True)
class Taped:
    """What the cost of differentiating one network twice depends on."""

    parameters: int
    samples: int
    numbers_per_sample: int
    """That leave the layers."""
    gradient_flops: int
    """Of the gradient on all samples."""
    outputs: int
    kernel_width: int = 0
    """Of a fully connected network: the sum of its widths, over which its tangent kernel sums; else 0."""


KERNEL_ROWS = 512
"""Outputs of samples that tangent kernels are of: the first samples whose outputs are no more, one at the least."""
KERNEL_ELEMENTS = 1 << 24
"""Numbers of the Jacobians in parameters that are held at once, unless one sample's are more."""
_KERNELS = {"ntk_alignment": 1, "ntk_movement": 2}
"""Tangent kernels that a metric takes."""


def kernel_samples(samples: int, outputs: int) -> int:
    """How many of the first samples tangent kernels are of."""
    return max(1, min(samples, KERNEL_ROWS // outputs))


def samples_in_kernel(samples: int, outputs: int, parameters: int) -> int:
    """Samples whose Jacobians in parameters are taken at once: what the network alone decides."""
    return max(1, min(samples, KERNEL_ELEMENTS // (outputs * parameters)))


def named_flops(metrics: Collection[str], network: Taped) -> int:
    """Operations of one measurement of the metrics that are measured where they are named alone.

    A product with the Hessian costs about two gradients, and is made orthogonal to those before it. A tangent kernel
    is a way back for each output of its samples and a product of Jacobians; of a fully connected network of what is
    smaller.
    """
    found = 0
    if "sharpness" in metrics:
        held = min(_PRODUCTS, basis_vectors(network.parameters))
        found += _PRODUCTS * (2 * network.gradient_flops + 4 * held * network.parameters)
    kernels = max((_KERNELS.get(metric, 0) for metric in metrics), default=0)
    if kernels:
        samples = kernel_samples(network.samples, network.outputs)
        rows = samples * network.outputs
        passes = rows * network.gradient_flops // network.samples
        found += kernels * (passes + 2 * rows**2 * (network.kernel_width or network.parameters))
    return found


def named_calls(metrics: Collection[str], network: Taped) -> int:
    """About how many times such a measurement goes through all layers, whatever their size."""
    kernels = max((_KERNELS.get(metric, 0) for metric in metrics), default=0)
    return (4 * _PRODUCTS if "sharpness" in metrics else 0) + kernels * (network.outputs + 2)


def named_bytes(metrics: Collection[str], network: Taped) -> int:
    """Memory of one network that such a measurement takes: the vectors of Lanczos and a tape, or Jacobians.

    A stack takes no more than its largest parts: networks are measured a few at a time.
    """
    found = 0
    if "sharpness" in metrics:
        at_once = samples_curved_at_once(network.samples, network.numbers_per_sample)
        basis = (min(network.parameters, basis_vectors(network.parameters)) + 6) * network.parameters
        found = 8 * basis + TAPED_BYTES * at_once * network.numbers_per_sample
    if not {*_KERNELS}.isdisjoint(metrics):
        samples = kernel_samples(network.samples, network.outputs)
        rows, at_once = samples * network.outputs, samples_in_kernel(samples, network.outputs, network.parameters)
        jacobians = rows * network.kernel_width or 4 * at_once * network.outputs * network.parameters
        found = max(found, 8 * (6 * rows**2 + jacobians))
    return found
