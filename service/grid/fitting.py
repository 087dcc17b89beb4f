"""Whether the sections of a trial fit each other and the limits: what no single section can know."""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nfa_kernels import cost
from service.grid.trial_settings import DataSettings, NetworkSettings, TrialSettings

Arrays = Mapping[str, tuple[int, ...]]
"""Shapes of the arrays of an uploaded dataset by name."""


class Uploaded(dict[str, tuple[int, ...]]):
    """Shapes of the arrays of a dataset, and the losses over classes that can read its targets."""

    def __init__(self, shapes: Arrays, losses: Collection[str]) -> None:
        super().__init__(shapes)
        self.losses = losses


@dataclass(frozen=True)
class Limits:
    """How large an experiment may be."""

    trials_per_experiment: int = 100_000
    parameters_per_network: int = 10_000_000
    steps: int = 10_000_000
    bytes_per_network: int = 4 * 2**30
    numbers_per_dataset: int = 100_000_000


class Misfit(NamedTuple):
    """Something that does not fit: the path to name, and why."""

    path: str
    message: str


class DataShape(NamedTuple):
    """Sizes of a trial's data: N training samples, D inputs, C outputs and test samples."""

    samples: int
    inputs: int
    outputs: int
    test_samples: int


def known_shape(data: Mapping[str, Any]) -> DataShape:
    """The sizes of data that are made from their settings; `data` has at least those that its kind reads."""
    match data["kind"]:
        case "clusters":
            width = len(data["strengths"])
            return DataShape(sum(data["counts"]), width, width, 0)
        case "digits":
            return DataShape(data["samples"], 64, 10, data["test_samples"])
        case "single_index" | "sparse_parity":
            return DataShape(data["samples"], data["inputs"], 1, data["test_samples"])
        case _:
            return DataShape(data["samples"], data["inputs"], data["outputs"], data["test_samples"])


def data_shape(data: DataSettings, datasets: Mapping[str, Arrays]) -> DataShape | Misfit:
    """The sizes of the data, or why an uploaded dataset cannot be trained on."""
    if data.kind != "uploaded":
        return known_shape(data.model_dump())
    arrays = datasets.get(data.dataset_id or "")
    if arrays is None:
        return Misfit("data.dataset_id", "no such dataset: upload it with POST /datasets and give its id")
    told = ", ".join(f"{name} {tuple(shape)}" for name, shape in arrays.items())
    try:
        (samples, *each), (rows, outputs) = arrays["x"], arrays["y"]
        (tests, *test_each), (test_rows, test_outputs) = (
            (arrays["x_test"], arrays["y_test"]) if "x_test" in arrays else ((0, *each), (0, outputs))
        )
    except (KeyError, ValueError):
        return Misfit("data.dataset_id", f"needs arrays x (n, d), or images (n, c, h, w), and y (n, k); it has {told}")
    inputs = math.prod(each)
    fits = (rows, test_rows, test_each, test_outputs) == (samples, tests, each, outputs)
    if not (each and fits and samples and inputs and outputs):
        return Misfit("data.dataset_id", f"rows or columns do not fit, or there are none: {told}")
    return DataShape(samples, inputs, outputs, tests)


def misfits(
    settings: TrialSettings, shape: DataShape, limits: Limits, datasets: Mapping[str, Arrays]
) -> Iterator[Misfit]:
    """Everything about these settings that does not fit; settings without any can be trained."""
    widths = layer_widths(settings.network, shape)
    yield from _over_limits(settings, shape, limits)
    yield from _layers(settings)
    yield from _times(settings)
    yield from _targets(settings, shape, datasets)
    size = settings.training.batch_size
    if size is not None and size > shape.samples:
        yield Misfit("training.batch_size", f"a batch of {size} is larger than the {shape.samples} training samples")
    yield from _given_weights(settings, widths, datasets)


def layer_widths(network: NetworkSettings, shape: DataShape) -> list[int]:
    """Widths d_0 .. d_L from the inputs to the outputs."""
    return [shape.inputs, *network.hidden_widths, shape.outputs]


def count_parameters(network: NetworkSettings, shape: DataShape) -> int:
    """Number of weights and biases of one network."""
    widths = layer_widths(network, shape)
    weights = sum(left * right for left, right in itertools.pairwise(widths))
    return weights + (sum(widths[1:]) if network.bias else 0)


def _over_limits(settings: TrialSettings, shape: DataShape, limits: Limits) -> Iterator[Misfit]:
    parameters = count_parameters(settings.network, shape)
    if parameters > limits.parameters_per_network:
        allowed = limits.parameters_per_network
        yield Misfit("network.width", f"a network of {parameters} parameters is over the limit of {allowed}")
    needed = _memory(settings, shape)
    if needed > limits.bytes_per_network:
        told = f"training one network takes about {needed} bytes, over the limit of {limits.bytes_per_network}"
        yield Misfit("data.samples", f"{told}: fewer samples, narrower layers, or a batch_size need less")
    if settings.training.steps > limits.steps:
        yield Misfit("training.steps", f"{settings.training.steps} steps are over the limit of {limits.steps}")
    numbers = (shape.samples + shape.test_samples) * (shape.inputs + shape.outputs)
    if numbers > limits.numbers_per_dataset:
        allowed = limits.numbers_per_dataset
        yield Misfit("data.samples", f"training data of {numbers} numbers are over the limit of {allowed}")


def _memory(settings: TrialSettings, shape: DataShape) -> int:
    """Bytes that one network holds while it trains, about."""
    network, training = settings.network, settings.training
    form = cost.Shape(
        widths=tuple(layer_widths(network, shape)),
        samples=training.batch_size or shape.samples,
        is_linear=network.activation == "linear" and not network.bias,
        full_batch=training.batch_size is None,
        optimizer=training.optimizer,
        dtype=training.dtype,
    )
    return cost.lane_bytes(form, shape.samples + shape.test_samples)


def _layers(settings: TrialSettings) -> Iterator[Misfit]:
    depth, layers = settings.network.depth, settings.measure.layers
    beyond = [] if isinstance(layers, str) else [layer for layer in layers if layer > depth]
    if beyond:
        yield Misfit("measure.layers", f"layer {beyond[0]} does not exist: the network has layers 1 to {depth}")
    if settings.init.scheme == "layer_scales" and depth == 1:
        yield Misfit("init.scheme", "layer_scales needs a first and a last layer: give network.depth 2 or more")


def _times(settings: TrialSettings) -> Iterator[Misfit]:
    """Steps that are never reached; and gradient flow, which has times instead of steps."""
    measure, training = settings.measure, settings.training
    if training.optimizer == "gradient_flow":
        for name in ("every", "steps"):
            if getattr(measure, name) is not None:
                yield Misfit(f"measure.{name}", "gradient_flow is measured at times: use points and spacing")
        return
    late = [step for step in measure.weights if step > training.steps]
    if late:
        yield Misfit("measure.weights", f"step {late[0]} is never reached: training.steps is {training.steps}")


_CLASS_KINDS = {"cross_entropy": ("digits",), "logistic": ("digits", "sparse_parity")}


def _targets(settings: TrialSettings, shape: DataShape, datasets: Mapping[str, Arrays]) -> Iterator[Misfit]:
    """Classification losses need targets that name classes."""
    loss, kind = settings.training.loss, settings.data.kind
    if loss not in _CLASS_KINDS:
        return
    if kind not in (*_CLASS_KINDS[loss], "uploaded"):
        allowed = ", ".join((*_CLASS_KINDS[loss], "uploaded"))
        yield Misfit("training.loss", f"{loss} needs targets that name classes, as {allowed} have; data.kind is {kind}")
        return
    one_hot = "upload whole-number labels with ?targets=classes, which makes them one-hot"
    arrays = datasets.get(settings.data.dataset_id or "") if kind == "uploaded" else None
    if loss == "cross_entropy" and shape.outputs < 2:
        advice = one_hot if arrays is not None else "use logistic for one"
        yield Misfit("training.loss", f"cross_entropy needs at least two outputs, one per class: {advice}")
    elif isinstance(arrays, Uploaded) and loss not in arrays.losses:
        needed = "one-hot rows, or class probabilities" if loss == "cross_entropy" else "numbers in [0, 1], or -1 and 1"
        yield Misfit("training.loss", f"{loss} needs {needed}, and y of the dataset is something else: {one_hot}")


def _given_weights(settings: TrialSettings, widths: Sequence[int], datasets: Mapping[str, Arrays]) -> Iterator[Misfit]:
    """Uploaded initial weights must be the arrays w1 .. wL of the network's shapes."""
    if settings.init.scheme != "given" or settings.init.weights_id is None:
        return
    arrays = datasets.get(settings.init.weights_id)
    if arrays is None:
        yield Misfit("init.weights_id", "no such dataset: upload the weights with POST /datasets and give its id")
        return
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        needed, name = (fan_out, fan_in), f"w{layer}"
        if name not in arrays:
            told = ", ".join(arrays)
            yield Misfit("init.weights_id", f"has no array {name}, which must be {needed}; it has {told}")
        elif tuple(arrays[name]) != needed:
            yield Misfit("init.weights_id", f"{name} has shape {tuple(arrays[name])}, the network needs {needed}")
