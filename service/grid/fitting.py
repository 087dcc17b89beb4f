"""Whether the sections of a trial fit each other and the limits: what no single section can know."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nfa_kernels import cost, names
from nfa_kernels.graphs.errors import GraphError
from service.grid import canonical
from service.grid.built_networks import Built, Steps, built
from service.grid.data_shapes import Arrays, DataShape, Misfit, Uploaded
from service.grid.given_weights import given_weights
from service.grid.inputs import further, refusal
from service.grid.network_settings import NetworkSettings
from service.grid.networks import Layers
from service.grid.trial_settings import TrialSettings


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
    yield from _of_other_kinds(settings.network)
    try:
        network = built(canonical.network_form(settings.network), shape)
    except GraphError as error:
        yield _refused(settings.network, error)
        return
    yield from _over_limits(settings, network, shape, limits)
    yield from _layers(settings, network.layers)
    yield from _initial(settings, network)
    yield from _own_numbers(settings, network.layers)
    yield from _times(settings)
    yield from _targets(settings, shape, datasets)
    yield from _inputs(settings, shape)
    size = settings.training.batch_size
    if size is not None and size > shape.samples:
        yield Misfit("training.batch_size", f"a batch of {size} is larger than the {shape.samples} training samples")
    yield from given_weights(settings, network, datasets)
    for inputs in further(settings.measure.inputs):
        told = refusal(inputs, shape, datasets, limits.numbers_per_dataset)
        if told is not None:
            yield Misfit("measure.inputs", told)


def _of_other_kinds(network: NetworkSettings) -> Iterator[Misfit]:
    """Settings that the network's kind does not read, and that are not as where nothing is said: another is meant."""
    read = ("kind", "parameterization", *names.NETWORK_KINDS[network.kind])
    fields = type(network).model_fields
    for name in sorted(network.model_fields_set.difference(read)):
        if getattr(network, name) == fields[name].default:
            continue
        kinds = ", ".join(kind for kind, own in names.NETWORK_KINDS.items() if name in own)
        told = f"the kind {network.kind} does not read {name}, which is a setting of {kinds}"
        yield Misfit(f"network.{name}", f"{told}; it reads {', '.join(read[1:])}: leave it away, or choose its kind")


def _refused(network: NetworkSettings, error: GraphError) -> Misfit:
    """What is wrong with a graph: at its layer where layers are given, else at the kind that stands for them."""
    if error.where == "data":
        return Misfit("data.kind", error.told)
    if network.kind == "graph":
        return Misfit(f"network.{error.where}", error.told)
    told = error.told if error.where == "network" else f"stands for layers of which {error}"
    return Misfit("network.kind", f"{network.kind} {told}")


def _inputs(settings: TrialSettings, shape: DataShape) -> Iterator[Misfit]:
    """A fully connected network takes numbers, of any shape; tokens are names, whose order means nothing."""
    if shape.vocabulary is None or settings.network.kind != "mlp":
        return
    told = f"a fully connected network takes numbers, the data are {shape.told}"
    if settings.data.kind == "modular_addition":
        yield Misfit("data.encoding", f"{told}: use encoding one_hot, or network.kind transformer")
    else:
        yield Misfit("data.vocabulary", f"{told}: upload one-hot rows, or use network.kind transformer")


def _over_limits(settings: TrialSettings, network: Built, shape: DataShape, limits: Limits) -> Iterator[Misfit]:
    if network.parameters > limits.parameters_per_network:
        kind, allowed = settings.network.kind, limits.parameters_per_network
        largest, form = max(network.arrays().items(), key=lambda array: math.prod(array[1]))
        place = {"mlp": "width", "graph": network.layer_path(largest)}.get(kind, "kind")
        told = f"a network of {network.parameters} parameters is over the limit of {allowed}"
        told += f", {math.prod(form)} of them in {largest} {form}"
        yield Misfit(f"network.{place}", f"{told}: {_SMALLER[kind]}")
    training = settings.training
    batch = training.batch_size or shape.samples
    steps = Steps(batch, training.batch_size is None, training.optimizer, training.dtype)
    samples = shape.samples + shape.test_samples
    needed = network.held_bytes(steps, samples) + network.pass_bytes(steps, samples, 1)
    needed += cost.named_bytes(settings.measure.measured_metrics, network.taped(shape.samples))
    if needed > limits.bytes_per_network:
        told = f"training one network takes about {needed} bytes, over the limit of {limits.bytes_per_network}"
        yield Misfit("data.samples", f"{told}: fewer samples, narrower layers, or a batch_size need less")
    if settings.training.steps > limits.steps:
        yield Misfit("training.steps", f"{settings.training.steps} steps are over the limit of {limits.steps}")
    numbers = (shape.samples + shape.test_samples) * (shape.inputs + shape.outputs)
    if numbers > limits.numbers_per_dataset:
        allowed = limits.numbers_per_dataset
        yield Misfit("data.samples", f"training data of {numbers} numbers are over the limit of {allowed}")


_SMALLER = {
    "mlp": "make it narrower",
    "resmlp": "make it narrower",
    "convnet": "take fewer channels, a smaller kernel, or a pool",
    "transformer": "make it narrower, or shallower",
    "graph": "take fewer units or channels, or pool before the last map",
}


def _layers(settings: TrialSettings, known: Layers) -> Iterator[Misfit]:
    layers = settings.measure.layers
    beyond = [] if isinstance(layers, str) else [layer for layer in layers if known.number(layer) is None]
    if beyond:
        yield Misfit("measure.layers", f"layer {beyond[0]} does not exist: the network has {known.told}")


def _initial(settings: TrialSettings, built_network: Built) -> Iterator[Misfit]:
    """Initial weights that the network, or its parametrisation, has not."""
    scheme, network = settings.init.scheme, settings.network
    refusal = built_network.scheme_refusal(scheme)
    if refusal is not None:
        yield Misfit("init.scheme", refusal)
    elif network.parameterization == "mup" and scheme in names.NOT_FOR_MUP:
        fitting = ", ".join((*names.FAN_IN_SCHEMES, "xavier", "orthogonal"))
        yield Misfit("init.scheme", f"{scheme} grows with the width, which mup keeps of order one: {fitting}")


def _own_numbers(settings: TrialSettings, known: Layers) -> Iterator[Misfit]:
    """Layers under `training.layers` that are none, and rates where there is one time for all."""
    is_flow = settings.training.optimizer == "gradient_flow"
    seen: dict[str, str] = {}
    for key, layer in settings.training.layers.items():
        said = layer.model_dump(exclude_none=True)
        path, own = ".".join(("training.layers", key, *list(said)[:1])), known.key(key)
        if own is None:
            named = f" and {', '.join(known.owners)}" if known.names else ""
            yield Misfit(path, f"layer {key} does not exist: the network has layers 1 to {known.count}{named}")
        elif own in seen:
            yield Misfit(path, f"{key} is the layer {seen[own]}, which has its own numbers already: give one of them")
        elif is_flow and "learning_rate" in said:
            told = "gradient_flow has no learning rate: time is the same for all layers; weight_decay is each one's own"
            yield Misfit(f"training.layers.{key}.learning_rate", told)
        seen.setdefault(own or key, key)


def _times(settings: TrialSettings) -> Iterator[Misfit]:
    """Steps that are never reached; and gradient flow, which has times instead of steps."""
    measure, training = settings.measure, settings.training
    if training.optimizer == "gradient_flow":
        for name in ("every", "steps"):
            if getattr(measure, name) is not None:
                yield Misfit(f"measure.{name}", "gradient_flow is measured at times: use points and spacing")
        for name in ("plateau", "at_least"):
            if training.stop is not None and getattr(training.stop, name):
                told = "gradient_flow has times and no steps: stop it by loss_below or when"
                yield Misfit(f"training.stop.{name}", told)
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
