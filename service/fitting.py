"""Whether the sections of a trial fit each other and the limits: what no single section can know."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from service.trial_settings import TrialSettings

Arrays = Mapping[str, tuple[int, ...]]
"""Shapes of the arrays of an uploaded dataset by name."""


@dataclass(frozen=True)
class Limits:
    """How large an experiment may be."""

    trials_per_experiment: int = 100_000
    parameters_per_network: int = 10_000_000
    steps: int = 10_000_000
    numbers_per_dataset: int = 100_000_000


class Misfit(NamedTuple):
    """Something that does not fit: the path to name, and why."""

    path: str
    message: str


def misfits(settings: TrialSettings, limits: Limits, datasets: Mapping[str, Arrays]) -> Iterator[Misfit]:
    """Everything about these settings that does not fit; settings without any can be trained."""
    yield from _over_limits(settings, limits)
    yield from _layers(settings)
    yield from _batches(settings)
    yield from _given_weights(settings, datasets)


def layer_widths(settings: TrialSettings) -> list[int]:
    """Widths d_0 .. d_L from the inputs to the outputs."""
    return [settings.data.inputs, *settings.network.hidden_widths, settings.data.outputs]


def count_parameters(settings: TrialSettings) -> int:
    """Number of weights and biases of one network."""
    widths = layer_widths(settings)
    weights = sum(left * right for left, right in itertools.pairwise(widths))
    return weights + (sum(widths[1:]) if settings.network.bias else 0)


def _over_limits(settings: TrialSettings, limits: Limits) -> Iterator[Misfit]:
    parameters = count_parameters(settings)
    if parameters > limits.parameters_per_network:
        allowed = limits.parameters_per_network
        yield Misfit("network.width", f"a network of {parameters} parameters is over the limit of {allowed}")
    if settings.training.steps > limits.steps:
        yield Misfit("training.steps", f"{settings.training.steps} steps are over the limit of {limits.steps}")
    data = settings.data
    numbers = (data.samples + data.test_samples) * (data.inputs + data.outputs)
    if numbers > limits.numbers_per_dataset:
        allowed = limits.numbers_per_dataset
        yield Misfit("data.samples", f"training data of {numbers} numbers are over the limit of {allowed}")


def _layers(settings: TrialSettings) -> Iterator[Misfit]:
    depth, measure = settings.network.depth, settings.measure
    if not isinstance(measure.layers, str):
        beyond = [layer for layer in measure.layers if layer > depth]
        if beyond:
            yield Misfit("measure.layers", f"layer {beyond[0]} does not exist: the network has layers 1 to {depth}")
    if settings.init.scheme == "layer_scales" and depth == 1:
        yield Misfit("init.scheme", "layer_scales needs a first and a last layer: give network.depth 2 or more")
    late = [step for step in measure.weights if step > settings.training.steps]
    if late:
        yield Misfit("measure.weights", f"step {late[0]} is never reached: training.steps is {settings.training.steps}")


def _batches(settings: TrialSettings) -> Iterator[Misfit]:
    size, samples = settings.training.batch_size, settings.data.samples
    if size is not None and size > samples:
        yield Misfit("training.batch_size", f"a batch of {size} is larger than the {samples} training samples")


def _given_weights(settings: TrialSettings, datasets: Mapping[str, Arrays]) -> Iterator[Misfit]:
    """Uploaded initial weights must be the arrays w1 .. wL of the network's shapes."""
    if settings.init.scheme != "given" or settings.init.weights_id is None:
        return
    arrays = datasets.get(settings.init.weights_id)
    if arrays is None:
        yield Misfit("init.weights_id", "no such dataset: upload the weights with POST /datasets and give its id")
        return
    widths = layer_widths(settings)
    for layer in range(1, len(widths)):
        needed, name = (widths[layer], widths[layer - 1]), f"w{layer}"
        if name not in arrays:
            yield Misfit("init.weights_id", f"has no array {name} (needed: {needed}); it has {', '.join(arrays)}")
        elif tuple(arrays[name]) != needed:
            yield Misfit("init.weights_id", f"{name} has shape {tuple(arrays[name])}, the network needs {needed}")
