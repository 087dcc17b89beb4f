"""What one trial costs: operations, memory, and the seconds a stack of them takes on one core. Pure.

The seconds are for previews and for cutting stacks; they come from the kernels' own counts and from rates measured on
one core of a server of 2024, and are right within a factor of two or so.
"""

from collections.abc import Mapping
from typing import Any, Final

from nfa_kernels import cost, names
from service.grid.data_shapes import DataShape, known_shape
from service.grid.measured_steps import measured_steps

STEP_SECONDS: Final = 15e-6
LAYER_SECONDS: Final = 8e-6
"""What a step costs whatever its arithmetic: calls into the tensor library, once and per layer."""
MEASUREMENT_SECONDS: Final = 3e-3
START_SECONDS: Final = 5e-3
LANE_START_SECONDS: Final = 3e-4
FLOPS_PER_SECOND: Final = 7e9
FLOW_EVALUATIONS: Final = 3_000
"""Gradients that gradient flow takes to its horizon: known only afterwards, and of this order."""


def shape_of(settings: Mapping[str, Any]) -> DataShape | None:
    """Sizes of the data of canonical settings; None for uploaded data, which only their arrays know."""
    return None if settings["data"]["kind"] == "uploaded" else known_shape(settings["data"])


def cost_shape(settings: Mapping[str, Any], shape: DataShape) -> cost.Shape:
    """What the kernels' counts need to know of a trial."""
    network, training = settings["network"], settings["training"]
    batch = training.get("batch_size")
    return cost.Shape(
        widths=(shape.inputs, *network["width"], shape.outputs),
        samples=batch or shape.samples,
        is_linear=network.get("activation", "linear") == "linear" and not network["bias"],
        full_batch=batch is None,
        optimizer=training["optimizer"],
        dtype=training["dtype"],
        wide_weights=names.has_wide_weights(training, network["parameterization"]),
    )


def lane_bytes(settings: Mapping[str, Any], shape: DataShape) -> int:
    """Memory that one trial takes while it trains, about."""
    return cost.lane_bytes(cost_shape(settings, shape), shape.samples + shape.test_samples)


def weight_bytes(settings: Mapping[str, Any], shape: DataShape) -> int:
    """Memory of one trial's weights."""
    form = cost_shape(settings, shape)
    return cost.parameters(form.widths) * (8 if form.dtype == "float64" else 4)


def updates(settings: Mapping[str, Any]) -> int:
    """Steps of one trial, or about as many gradients."""
    return settings["training"].get("steps", FLOW_EVALUATIONS)


def step_seconds(settings: Mapping[str, Any], shape: DataShape, lanes: float) -> float:
    """Seconds of one training step of a stack."""
    depth = settings["network"]["depth"]
    return (
        STEP_SECONDS + LAYER_SECONDS * depth + lanes * cost.step_flops(cost_shape(settings, shape)) / FLOPS_PER_SECOND
    )


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
    measured = len(measured_steps(settings)) if "steps" in settings["training"] else settings["measure"]["points"]
    layers = len(settings["measure"]["layers"])
    flops = cost.measurement_flops(cost_shape(settings, shape), layers, shape.samples)
    measuring = layers * MEASUREMENT_SECONDS + lanes * flops / FLOPS_PER_SECOND
    start = START_SECONDS + lanes * LANE_START_SECONDS
    return start + steps * step_seconds(settings, shape, running) + measured * measuring
