"""Whether the sections of a trial fit each other and the limits: what no single section can know."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nfa_kernels import cost, names
from service.grid.data_shapes import Arrays, DataShape, Misfit, Uploaded
from service.grid.trial_settings import NetworkSettings, TrialSettings


@dataclass(frozen=True)
class Limits:
    """How large an experiment may be."""

    trials_per_experiment: int = 100_000
    parameters_per_network: int = 10_000_000
    steps: int = 10_000_000
    bytes_per_network: int = 4 * 2**30
    numbers_per_dataset: int = 100_000_000


def misfits(
    settings: TrialSettings, shape: DataShape, limits: Limits, datasets: Mapping[str, Arrays]
) -> Iterator[Misfit]:
    """Everything about these settings that does not fit; settings without any can be trained."""
    widths = layer_widths(settings.network, shape)
    yield from _over_limits(settings, shape, limits)
    yield from _layers(settings)
    yield from _own_numbers(settings)
    yield from _times(settings)
    yield from _targets(settings, shape, datasets)
    yield from _inputs(settings, shape)
    size = settings.training.batch_size
    if size is not None and size > shape.samples:
        yield Misfit("training.batch_size", f"a batch of {size} is larger than the {shape.samples} training samples")
    yield from _given_weights(settings, widths, datasets)


def _inputs(settings: TrialSettings, shape: DataShape) -> Iterator[Misfit]:
    """A fully connected network takes numbers, of any shape; tokens are names, whose order means nothing."""
    if shape.vocabulary is None:
        return
    told = f"a fully connected network takes numbers, the data are {shape.told}"
    if settings.data.kind == "modular_addition":
        yield Misfit("data.encoding", f"{told}: use encoding one_hot, or network.kind transformer")
    else:
        yield Misfit("data.vocabulary", f"{told}: upload one-hot rows, or use network.kind transformer")


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
    if settings.network.parameterization == "mup" and settings.init.scheme in names.NOT_FOR_MUP:
        fitting = ", ".join((*names.FAN_IN_SCHEMES, "xavier", "orthogonal", "balanced"))
        yield Misfit(
            "init.scheme", f"{settings.init.scheme} grows with the width, which mup keeps of order one: {fitting}"
        )


def _own_numbers(settings: TrialSettings) -> Iterator[Misfit]:
    """Layers under `training.layers` that are none, and rates where there is one time for all."""
    depth, is_flow = settings.network.depth, settings.training.optimizer == "gradient_flow"
    for key, layer in settings.training.layers.items():
        said = layer.model_dump(exclude_none=True)
        if not key.isdecimal() or int(key) > depth:
            path = ".".join(("training.layers", key, *list(said)[:1]))
            yield Misfit(path, f"layer {key} does not exist: the network has layers 1 to {depth}")
        elif is_flow and "learning_rate" in said:
            told = "gradient_flow has no learning rate: time is the same for all layers; weight_decay is each one's own"
            yield Misfit(f"training.layers.{key}.learning_rate", told)


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


def _targets(settings: TrialSettings, shape: DataShape, datasets: Mapping[str, Arrays]) -> Iterator[Misfit]:
    """Classification losses need targets that name classes."""
    loss, kind = settings.training.loss, settings.data.kind
    if loss not in names.CLASS_KINDS:
        return
    if kind not in (*names.CLASS_KINDS[loss], "uploaded"):
        allowed = ", ".join((*names.CLASS_KINDS[loss], "uploaded"))
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
    """Uploaded initial weights must be the arrays w1 .. wL, and b1 .. bL, of the network's shapes, and no others."""
    if settings.init.scheme != "given" or settings.init.weights_id is None:
        return
    arrays = datasets.get(settings.init.weights_id)
    if arrays is None:
        yield Misfit("init.weights_id", "no such dataset: upload the weights with POST /datasets and give its id")
        return
    needed: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        needed[f"w{layer}"] = (fan_out, fan_in)
    if settings.network.bias and any(name.startswith("b") for name in arrays):
        needed |= {f"b{layer}": (width,) for layer, width in enumerate(widths[1:], start=1)}
    for name, shape in needed.items():
        if name not in arrays:
            told = ", ".join(arrays)
            yield Misfit("init.weights_id", f"has no array {name}, which must be {shape}; it has {told}")
        elif tuple(arrays[name]) != shape:
            yield Misfit("init.weights_id", f"{name} has shape {tuple(arrays[name])}, the network needs {shape}")
    unread = [name for name in arrays if name not in needed]
    if unread:
        why = "" if settings.network.bias else "; biases b1, b2, .. need network.bias: true"
        told = f"has {', '.join(unread)}, which this network does not read: it reads {', '.join(needed)}{why}"
        yield Misfit("init.weights_id", told)
