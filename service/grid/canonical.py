"""Canonical form and fingerprint of a trial: what is hashed, stored, stacked and trained.

Canonical form is a nested dict of typed plain values with every default filled in, width as a list, layers and
metrics as lists, and without the fields that the chosen variant does not read.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from nfa_kernels import names
from service.grid.data_settings import DataSettings
from service.grid.data_shapes import DataShape, known_shape
from service.grid.inputs import further
from service.grid.measured_steps import DEFAULT_POINTS
from service.grid.network_settings import NetworkSettings
from service.grid.networks import Layers, graph_of, layers_of_network
from service.grid.setting_types import Section
from service.grid.trial_settings import (
    InitSettings,
    MeasureSettings,
    StopSettings,
    TrainingSettings,
    TrialSettings,
)

Settings = dict[str, dict[str, Any]]
"""Canonical settings: section -> field -> value."""


def canonical(settings: TrialSettings, shape: DataShape | None = None) -> Settings:
    """The canonical form of validated settings.

    Args:
        settings: that fit each other.
        shape: of the data; needed where they are uploaded and the network is not fully connected.
    """
    sections = (settings.data, settings.network, settings.init, settings.training, settings.measure)
    names_ = ("data", "network", "init", "training", "measure")
    around = surroundings(settings, shape)
    return {name: canonical_section(section, around) for name, section in zip(names_, sections, strict=True)}


class Around(NamedTuple):
    """What the canonical form of `measure` and of `training` depends on in other sections."""

    layers: Layers
    """Says which layers are all, and which number a name means."""
    reads_dtype: bool
    """Whether there are passes over samples that could be less exact than float64: the weights are."""
    has_biases: bool
    """Whether it matters if these decay."""


def surroundings(settings: TrialSettings, shape: DataShape | None = None) -> Around:
    """What decides, outside of a section, its canonical form; `shape` as for `canonical`.

    Raises:
        GraphError: layers that are no network or do not fit the data.
    """
    network, is_float32 = settings.network, settings.training.dtype == "float32"
    if network.kind == "mlp":
        is_linear = network.depth == 1 or network.activation == "linear"
        return Around(Layers(network.depth), is_float32 and not is_linear, network.bias)
    form = network_form(network)
    graph = graph_of(form, shape or known_shape(_data(settings.data)))
    assert graph is not None
    has_biases = any(one.role in ("bias", "gain") for one in graph.parameters)
    return Around(layers_of_network(form, graph), is_float32, has_biases)


def canonical_section(section: Section, around: Around) -> dict[str, Any]:
    """Canonical form of one section; `measure` and `training` depend on the others."""
    match section:
        case DataSettings():
            return _data(section)
        case NetworkSettings():
            return network_form(section)
        case InitSettings():
            return _init(section)
        case TrainingSettings():
            return _training(section, around)
        case MeasureSettings():
            return _measure(section, around)
    raise TypeError(f"no section of a trial: {type(section).__name__}")


def fingerprint(settings: Mapping[str, Any], seed: int) -> str:
    """SHA-256, in hex, of the numerical and stream versions, the seed and the canonical settings."""
    return sha256_of(compact({**_versions(), "seed": seed, "settings": settings}))


def _versions() -> dict[str, str]:
    """What a trial's numbers follow from beside its settings and seed."""
    return {"kernels": names.NUMERICAL_VERSION, "streams": names.STREAM_VERSION}


def settings_digest(settings: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of canonical settings alone: the same for every seed of a grid point."""
    return sha256_of(compact(settings))


def fingerprinter() -> Callable[[str, int], str]:
    """The function from settings, as `compact` writes them, and a seed to their fingerprint."""
    versions = {name: compact(version) for name, version in _versions().items()}
    start, end = f'{{"kernels":{versions["kernels"]},"seed":', f',"streams":{versions["streams"]}}}'
    return lambda text, seed: sha256_of(f'{start}{seed},"settings":{text}{end}')


def unread(section: Section, form: Mapping[str, Any], given: Iterable[str]) -> list[str]:
    """Keys out of `given` that are set in this section but that its chosen variant, with this form, does not read."""
    known = type(section).model_fields.keys() - form.keys() - _READ_ELSEWHERE - _read_silently(section)
    return [key for key in given if key in known]


_READ_ELSEWHERE = frozenset(
    {"device", "keep", "batch_size", "decay_biases", "stop", "points", "every", "steps", "exponents", "weights"}
)
"""Read although canonical form may lack them: null and empty mean nothing, device and keep change no number."""


def _read_silently(section: Section) -> frozenset[str]:
    """What this variant reads although canonical form lacks it: a setting of later releases that is as it was before,
    or that another one says."""
    if isinstance(section, TrainingSettings):
        return frozenset({"layers", *names.LOSS_NUMBERS.get(section.loss, ())})
    if isinstance(section, NetworkSettings):
        return frozenset({"kind"})
    if not isinstance(section, DataSettings):
        return frozenset()
    read = (*names.DATA_KINDS[section.kind], *(("test_samples",) if section.test_fraction is not None else ()))
    return frozenset(read) & {"layout", "test_fraction", "test_samples", "vocabulary"}


def sha256_of(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


compact: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode
"""Plain values as they are hashed: JSON with sorted keys, without spaces."""


def joined(members: Mapping[str, str]) -> str:
    """What `compact` makes of a mapping whose values it has written already."""
    return "{" + ",".join([f'"{name}":{members[name]}' for name in sorted(members)]) + "}"


def _pick(section: Section, fields: tuple[str, ...]) -> dict[str, Any]:
    """The named fields as plain values; whole numbers in float fields become floats, so that 0 and 0.0 agree."""
    floats = _float_fields(type(section))
    return {name: _plain(getattr(section, name), name in floats) for name in fields}


@cache
def _float_fields(section: type[Section]) -> frozenset[str]:
    return frozenset(name for name, field in section.model_fields.items() if holds_float(field.annotation))


def plain_numbers(section: type[Section], name: str, values: Sequence[Any]) -> list[Any]:
    """Numbers of one field as canonical form has them, where it is copied; None stays None."""
    if name in _float_fields(section):
        # -0.0 and 0.0 are one setting
        return [None if value is None else float(value) + 0.0 for value in values]
    return list(values)


def holds_float(annotation: Any) -> bool:
    """Whether a field's type mentions float anywhere, as in float | None or list[float]."""
    return annotation is float or any(holds_float(part) for part in getattr(annotation, "__args__", ()))


def _plain(value: Any, is_float: bool) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(part, is_float) for part in value]
    if is_float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # -0.0 and 0.0 are one setting
    return value + 0.0 if isinstance(value, float) else value


def _data(data: DataSettings) -> dict[str, Any]:
    """What the kind reads; settings that later releases gave to kinds of 0.1 enter only where they change something."""
    kept = _pick(data, ("kind", *names.DATA_KINDS[data.kind]))
    if data.kind == "modular_addition":
        kept["fraction"] = data.trained_fraction
        del kept["test_fraction"]
        if data.encoding == "one_hot":
            del kept["equals_sign"]
    if data.kind == "uploaded" and not data.test_fraction:
        del kept["seed"]
    if kept.get("test_fraction"):
        kept.pop("test_samples", None)
    as_before = {"layout": ("flat",), "test_fraction": (None, 0.0), "vocabulary": (None,)}
    return {name: value for name, value in kept.items() if value not in as_before.get(name, ())}


def network_form(network: NetworkSettings) -> dict[str, Any]:
    """Canonical form of `network`; one of 0.1, which had fully connected networks alone, names no kind."""
    if network.kind != "mlp":
        return _kind(network)
    fields = ["depth", "bias", "parameterization"]
    if network.depth > 1:
        fields.append("activation")
        if network.activation == "leaky_relu":
            fields.append("slope")
    return {**_pick(network, tuple(fields)), "width": network.hidden_widths}


def _kind(network: NetworkSettings) -> dict[str, Any]:
    kept = _pick(network, ("kind", *names.NETWORK_KINDS[network.kind], "parameterization"))
    if network.kind == "graph":
        return kept
    kept["activation"] = network.read_activation
    if kept["activation"] != "leaky_relu":
        del kept["slope"]
    if "norm" in kept:
        kept["norm"] = network.read_norm
    if network.kind == "transformer":
        kept["mlp_width"] = network.mlp_width or 4 * kept["width"]
    return kept


def _init(init: InitSettings) -> dict[str, Any]:
    return _pick(init, ("scheme", *names.INITIALISATIONS[init.scheme]))


def _training(training: TrainingSettings, around: Around) -> dict[str, Any]:
    rule = names.OPTIMIZERS[training.optimizer]
    of_loss = names.LOSS_NUMBERS.get(training.loss, ())
    fields = ["optimizer", "weight_decay", "loss", "dtype", *of_loss, *rule.hyperparameters]
    is_flow = training.optimizer == "gradient_flow"
    if not is_flow:
        fields += ["learning_rate", "steps", "schedule"]
    if training.batch_size is not None:
        fields += ["batch_size", "batch_order"]
    kept = _pick(training, tuple(fields))
    if kept.get("beta2", 0.0) is None:
        kept["beta2"] = 0.99 if training.optimizer == "lion" else 0.999
    if kept.get("epsilon", 0.0) is None:
        kept["epsilon"] = 1e-10 if training.optimizer == "adagrad" else 1e-8
    if kept.get("label_smoothing") == 0:
        del kept["label_smoothing"]
    if not is_flow:
        kept |= _schedule(training)
    layers = _layers(training, kept, around.layers)
    if layers:
        kept["layers"] = layers
    decays = kept["weight_decay"] > 0 or any(own.get("weight_decay") for own in layers.values())
    if not training.decay_biases and around.has_biases and decays:
        kept["decay_biases"] = False
    if training.stop is not None:
        kept["stop"] = _stop(training.stop)
    return kept


def _stop(stop: StopSettings) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if stop.loss_below is not None:
        kept["loss_below"] = float(stop.loss_below)
    if stop.when is not None:
        kept["when"] = " ".join(stop.when.split())
    if (plateau := stop.plateau) is not None:
        kept["plateau"] = {"metric": plateau.metric, "over": plateau.over, "change": float(plateau.change)}
        if plateau.layer is not None:
            kept["plateau"]["layer"] = plateau.layer
    if stop.at_least:
        kept["at_least"] = stop.at_least
    return kept


def _layers(training: TrainingSettings, kept: Mapping[str, Any], known: Layers) -> dict[str, dict[str, float]]:
    """What layers have of their own; what is as for all of them, or has no meaning here, is not."""
    found = {}
    for key, layer in training.layers.items():
        said = _pick(layer, ("learning_rate", "weight_decay"))
        own = {name: value for name, value in said.items() if value is not None and value != kept.get(name, value)}
        if own:
            found[known.key(key) or key] = own
    return found


def _schedule(training: TrainingSettings) -> dict[str, Any]:
    if training.schedule not in ("step", "warmup"):
        return {}
    kept: dict[str, Any] = {"schedule_steps": training.schedule_steps or _stage(training, training.steps)}
    if training.schedule == "step":
        kept["schedule_factor"] = float(training.schedule_factor)
    return kept


def _stage(training: TrainingSettings, steps: int) -> int:
    """Steps of a schedule's stage where none are given."""
    return max(1, steps // (3 if training.schedule == "step" else 10))


def following(section: Section, name: str, numbers: Sequence[Any]) -> dict[str, list[Any]]:
    """Further fields of the canonical form that follow from one of its numbers, for other numbers in its place."""
    if name != "steps" or not isinstance(section, TrainingSettings):
        return {}
    if section.schedule not in ("step", "warmup") or section.schedule_steps is not None:
        return {}
    return {"schedule_steps": [_stage(section, steps) for steps in numbers]}


def _measure(measure: MeasureSettings, around: Around) -> dict[str, Any]:
    kept: dict[str, Any] = {
        "layers": _measured_layers(measure, around.layers),
        "metrics": measure.measured_metrics,
    }
    if measure.every is not None:
        kept["every"] = measure.every
    elif measure.steps is not None:
        kept["steps"] = sorted(set(measure.steps))
    else:
        kept |= {"points": measure.points or DEFAULT_POINTS, "spacing": measure.spacing}
    if measure.measured_exponents:
        kept["exponents"] = measure.measured_exponents
    if inputs := further(measure.inputs):
        kept["inputs"] = inputs
    if measure.weights:
        kept["weights"] = sorted(set(measure.weights))
    if around.reads_dtype:
        kept["dtype"] = measure.dtype
    return kept


def _measured_layers(measure: MeasureSettings, known: Layers) -> list[int]:
    """Numbers of the measured layers, sorted, from 1."""
    if measure.layers == "first":
        return [1]
    if measure.layers == "all":
        return list(range(1, known.count + 1))
    return sorted({number for layer in measure.layers if (number := known.number(layer)) is not None})
