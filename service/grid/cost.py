"""What one trial costs: operations, memory, and the seconds a stack of them takes on one core. Pure.

The seconds are for previews and for cutting stacks; they come from the kernels' own counts and from rates measured on
one core of a server of 2024, and are right within a factor of two or so.
"""

from collections.abc import Mapping
from typing import Any, Final

from nfa_kernels import cost as kernel_cost
from nfa_kernels import names
from service.grid.built_networks import Steps, built
from service.grid.data_shapes import DataShape, known_shape
from service.grid.measured_steps import measured_count

STEP_SECONDS: Final = 15e-6
LAYER_SECONDS: Final = 8e-6
"""What a step costs whatever its arithmetic: calls into the tensor library, once and per layer."""
MEASUREMENT_SECONDS: Final = 3e-3
START_SECONDS: Final = 5e-3
LANE_START_SECONDS: Final = 3e-4
FLOPS_PER_SECOND: Final = 7e9
COMPILED_FLOPS_PER_SECOND: Final = 2.5e10
COMPILED_SECONDS: Final = 1e-7
"""What a layer of one network costs in a compiled step whatever its width: rows are padded, loops begun."""
COMPILED_CALL_SECONDS: Final = 2e-6
"""What a step of a stack costs in calls of compiled steps, each of which makes up to 64."""
COMPILED_MEASUREMENTS: Final = {"by_pass": (7e-4, 2.5e-5), "by_products": (1.2e-4, 3e-6)}
"""Seconds of a measurement of a layer, of a stack whatever its size and of each network whatever its width, by what
finds default metrics (`benchmarks/measurements.py`, and what notes them down)."""
MEASURED_FLOPS_PER_SECOND: Final = 1e11
"""Of these: counts are of whole products, of which one half is made where they are symmetric."""
FLOW_EVALUATIONS: Final = 3_000
"""Gradients that gradient flow takes to its horizon: known only afterwards, and of this order."""
_FLOW_STEP: Final = 7
"""Gradients of one step that gradient flow tries."""


def shape_of(settings: Mapping[str, Any]) -> DataShape | None:
    """Sizes of the data of canonical settings; None for uploaded data, which only their arrays know."""
    return None if settings["data"]["kind"] == "uploaded" else known_shape(settings["data"])


def steps_of(settings: Mapping[str, Any], shape: DataShape) -> Steps:
    """How a trial is trained, as far as its cost depends on it."""
    training = settings["training"]
    batch = training.get("batch_size")
    wide = names.has_wide_weights(training, settings["network"]["parameterization"])
    return Steps(batch or shape.samples, batch is None, training["optimizer"], training["dtype"], wide)


def lane_bytes(settings: Mapping[str, Any], shape: DataShape) -> int:
    """Memory that one trial takes while it trains, about."""
    return stack_bytes(settings, shape, 1)


def stack_bytes(settings: Mapping[str, Any], shape: DataShape, lanes: int) -> int:
    """Memory that a stack of so many trials takes while it trains, about."""
    network, steps, samples = built(settings["network"], shape), steps_of(settings, shape), _all_samples(shape)
    return lanes * network.held_bytes(steps, samples) + network.pass_bytes(steps, samples, lanes)


def lanes_within(settings: Mapping[str, Any], shape: DataShape, memory_bytes: int) -> int:
    """The most trials whose stack takes no more than so much memory, about; 0 where a single one takes more."""
    network, steps, samples = built(settings["network"], shape), steps_of(settings, shape), _all_samples(shape)
    if stack_bytes(settings, shape, 1) > memory_bytes:
        return 0
    left = memory_bytes - network.pass_bytes(steps, samples)
    return max(1, left // network.held_bytes(steps, samples))


def device_memory(settings: Mapping[str, Any], shape: DataShape) -> kernel_cost.DeviceMemory:
    """What stacks of such trials take of the memory of a device other than a CPU, about."""
    network, steps = built(settings["network"], shape), steps_of(settings, shape)
    return network.device_memory(steps, _all_samples(shape))


def _all_samples(shape: DataShape) -> int:
    return shape.samples + shape.test_samples


def weight_bytes(settings: Mapping[str, Any], shape: DataShape) -> int:
    """Memory of one trial's weights."""
    size = 8 if settings["training"]["dtype"] == "float64" else 4
    return built(settings["network"], shape).parameters * size


def updates(settings: Mapping[str, Any]) -> int:
    """Steps of one trial, or about as many gradients."""
    return updates_of(settings["training"].get("steps"))


def updates_of(steps: int | None) -> int:
    """The same, of a trial with so many steps; None: gradient flow, which has none."""
    return FLOW_EVALUATIONS if steps is None else steps


def step_seconds(settings: Mapping[str, Any], shape: DataShape, lanes: float) -> float:
    """Seconds of one training step of a stack; where steps are compiled, of machines that have a compiler."""
    network, steps = built(settings["network"], shape), steps_of(settings, shape)
    if network.is_compiled(settings["network"], settings["training"]):
        own = COMPILED_SECONDS * network.calls + network.step_flops(steps) / COMPILED_FLOPS_PER_SECOND
        return COMPILED_CALL_SECONDS + lanes * own
    calls = STEP_SECONDS + LAYER_SECONDS * network.calls
    return calls + lanes * network.step_flops(steps) / FLOPS_PER_SECOND


def stack_seconds(
    settings: Mapping[str, Any], shape: DataShape, lanes: int, lane_updates: float | None = None
) -> float:
    """Seconds of training and measuring a stack from its start to its end.

    Args:
        settings: canonical, of the lane with the most steps.
        shape: of its data.
        lanes: that start together.
        lane_updates: steps summed over the lanes; all have as many where it is None.
    """
    steps = updates(settings)
    running = lanes if lane_updates is None or not steps else lane_updates / steps
    start = START_SECONDS + lanes * LANE_START_SECONDS
    measured = measured_count(settings) * _measuring_seconds(
        settings, shape, lanes, points_at_once(settings, shape, lanes)
    )
    return start + steps * step_seconds(settings, shape, running) + measured


def points_at_once(settings: Mapping[str, Any], shape: DataShape, lanes: int) -> float:
    """Points that a stack of lanes is measured at together, where compiled code goes through them in one call."""
    network, steps = built(settings["network"], shape), steps_of(settings, shape)
    if not network.is_compiled(settings["network"], settings["training"]):
        return 1.0
    points, lanes = measured_count(settings), max(1, lanes)
    between = max(1.0, updates(settings) / points)
    rows = shape.inputs + shape.outputs if network.measuring == "by_products" else _all_samples(shape)
    held = lanes * 8 * (network.parameters + rows * (shape.inputs + shape.outputs))
    looks = min(kernel_cost.LOOKS_AT_ONCE, kernel_cost.LOOK_BYTES / held)
    in_looks = looks / (1 + between / kernel_cost.CHECK_STEPS)
    in_one_call = kernel_cost.COMPILED_FLOPS_AT_ONCE / (lanes * network.step_flops(steps) * between)
    return max(1.0, min(points, in_looks, in_one_call))


def longest_silence(settings: Mapping[str, Any], shape: DataShape, lanes: int) -> float:
    """Seconds in which a stack may have nothing to say: it starts, steps (or a flow tries to) and measures once."""
    start = START_SECONDS + lanes * LANE_START_SECONDS
    gradients = _FLOW_STEP if settings["training"]["optimizer"] == "gradient_flow" else 1
    step = gradients * step_seconds(settings, shape, lanes)
    return start + step + _measuring_seconds(settings, shape, lanes)


def _measuring_seconds(settings: Mapping[str, Any], shape: DataShape, lanes: int, together: float = 1.0) -> float:
    """Seconds of measuring a stack once, where so many measurements are made together."""
    layers = settings["measure"]["layers"]
    network, steps_made = built(settings["network"], shape), steps_of(settings, shape)
    metrics = settings["measure"]["metrics"]
    flops = network.measurement_flops(steps_made, layers, shape.samples)
    taped = network.taped(shape.samples)
    named = kernel_cost.named_flops(metrics, taped)
    calls = kernel_cost.named_calls(metrics, taped) * network.calls * LAYER_SECONDS
    one, own, rate = MEASUREMENT_SECONDS, 0.0, FLOPS_PER_SECOND
    if network.measuring != "library":
        (one, own), rate = COMPILED_MEASUREMENTS[network.measuring], MEASURED_FLOPS_PER_SECOND
    of_lane = len(layers) * own + flops / rate + named / FLOPS_PER_SECOND
    measuring = (len(layers) * one + calls) / together + lanes * of_lane
    return measuring * (1 + len(settings["measure"].get("inputs", ())))
