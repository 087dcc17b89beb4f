"""Names of everything the kernels know, with what each reads: the torch-free part that the service may import.

A registry entry here and the line in the family's `__init__.py` are what makes a name usable; tests hold the two
against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from nfa_kernels.metric_inputs import (  # noqa: F401 - the one door to every name
    ON_INPUTS,
    TRAIN,
    Inputs,
    definition_of,
    on_inputs,
    read_inputs,
    split_inputs,
    takes_inputs,
    words_of,
)
from nfa_kernels.metric_names import (  # noqa: F401 - the one door to every name
    COUNTED_FAMILIES,
    DEFAULT_METRICS,
    LAYER_METRICS,
    METRIC_FAMILIES,
    METRICS,
    NETWORK_METRICS,
    FamilyMember,
    MetricName,
    alignment_id,
    family_member,
)

NUMERICAL_VERSION: Final = "3"
"""Part of every fingerprint. Raise it when a change alters any trained or measured number beyond rounding."""
STREAM_VERSION: Final = "2"
"""Part of every fingerprint: how random numbers follow from a purpose and a seed; see random_streams.py."""

ACTIVATIONS: Final = (
    "linear",
    "relu",
    "leaky_relu",
    "tanh",
    "gelu",
    "silu",
    "softplus",
    "sigmoid",
    "erf",
    "quadratic",
)
NETWORK_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "mlp": ("depth", "width", "activation", "slope", "bias"),
    "resmlp": ("depth", "width", "activation", "slope", "norm", "skip", "bias"),
    "convnet": (*("depth", "channels", "kernel", "stride", "padding", "activation", "slope", "pool", "norm", "bias"),),
    "transformer": (
        *("depth", "width", "heads", "mlp_width", "norm", "positions", "causal", "readout", "activation", "slope"),
        "bias",
    ),
    "graph": ("layers",),
}
"""Kind of network -> the settings under `network` that it reads beside `parameterization`."""
NORMS: Final = ("none", "layer", "rms", "group")
PADDINGS: Final = ("same", "valid")
POOLS: Final = ("average", "max", "none")
POSITIONS: Final = ("learned", "none")
READOUTS: Final = ("mean", "last", "flatten")
PARAMETERIZATIONS: Final = ("standard", "ntk", "mean_field", "mup")
LOSSES: Final = ("half", "sum", "mse", "huber", "cross_entropy", "logistic")
LOSS_NUMBERS: Final[dict[str, tuple[str, ...]]] = {"huber": ("huber_delta",), "cross_entropy": ("label_smoothing",)}
"""Loss -> the settings under `training` that it reads; each is a number that stacked networks may differ in."""
SCHEDULES: Final = ("constant", "cosine", "step", "warmup")
DTYPES: Final = ("float64", "float32")


@dataclass(frozen=True)
class OptimizerName:
    """What an update rule reads, so that settings it ignores never enter a fingerprint."""

    hyperparameters: tuple[str, ...] = ()
    """Settings under `training` beyond learning_rate, weight_decay and schedule."""
    minibatches: Literal["never", "required", "optional"] = "optional"
    decay: Literal["coupled", "decoupled"] = "coupled"
    state_copies: int = 0
    """Arrays of the parameters' size that the rule keeps between steps."""
    flops_per_parameter: int = 2
    steps: Literal["gradient", "sign", "orthogonal"] = "gradient"
    """What the size of a step follows: the gradient's, none (its signs, about), or that of an orthogonal matrix."""


OPTIMIZERS: Final[dict[str, OptimizerName]] = {
    "gd": OptimizerName(minibatches="never", flops_per_parameter=4),
    "sgd": OptimizerName(minibatches="required", flops_per_parameter=4),
    "momentum": OptimizerName(("momentum",), state_copies=1, flops_per_parameter=6),
    "nesterov": OptimizerName(("momentum",), state_copies=1, flops_per_parameter=8),
    "adam": OptimizerName(("beta1", "beta2", "epsilon"), state_copies=2, flops_per_parameter=14, steps="sign"),
    "rmsprop": OptimizerName(("rho", "epsilon"), state_copies=1, flops_per_parameter=11, steps="sign"),
    "adagrad": OptimizerName(("epsilon",), state_copies=1, flops_per_parameter=9, steps="sign"),
    "adamw": OptimizerName(
        ("beta1", "beta2", "epsilon"), decay="decoupled", state_copies=2, flops_per_parameter=14, steps="sign"
    ),
    "sgdw": OptimizerName(("momentum",), decay="decoupled", state_copies=1, flops_per_parameter=6),
    "lion": OptimizerName(("beta1", "beta2"), decay="decoupled", state_copies=1, flops_per_parameter=9, steps="sign"),
    "signsgd": OptimizerName(decay="decoupled", flops_per_parameter=5, steps="sign"),
    # and five times three products of matrices, here as for a width of 64
    "muon": OptimizerName(
        ("momentum",), decay="decoupled", state_copies=1, flops_per_parameter=2_000, steps="orthogonal"
    ),
    "gradient_flow": OptimizerName(
        ("horizon", "rtol", "atol"), minibatches="never", state_copies=8, flops_per_parameter=60
    ),
}


WIDE_BELOW: Final = 1e-4
"""Of lr lambda: float32 rounds a step of decay to multiples of 6e-8 of a weight, above this by less than 0.1 %."""


COMPILED_OPTIMIZERS: Final = frozenset(
    {"gd", "sgd", "momentum", "nesterov", "adam", "adamw", "sgdw", "rmsprop", "adagrad", "lion", "signsgd"}
)
"""Rules whose steps are compiled where there is a compiler; see native/."""
COMPILED_LOSSES: Final = frozenset(LOSSES)
COMPILED_ACTIVATIONS: Final = frozenset(
    {"linear", "relu", "leaky_relu", "gelu", "tanh", "silu", "sigmoid", "quadratic"}
)
COMPILED_WIDEST: Final[dict[str, int]] = {"float32": 512, "float64": 362}
"""By dtype of the weights, of fully connected networks that are no products of matrices: matrices of a megabyte.
Products may have any width."""
MEASURED_WIDEST: Final = 512
"""Of such networks whose passes and Jacobians are compiled where they are measured: beyond it weights leave the cache,
and the tensor library's products are faster."""

MEASURED_OUTPUTS: Final = 16
"""Of products of matrices whose default metrics are compiled: the most, and no more than any layer has."""


def is_compiled(network: Mapping[str, Any], training: Mapping[str, Any], widest: int) -> bool:
    """Whether steps of fully connected networks are compiled, on a CPU where there is a compiler.

    Args:
        network: canonical settings of that section.
        training: and of this one.
        widest: the largest of the widths d_0 .. d_L.
    """
    if not is_rule_compiled(training):
        return False
    activation = network.get("activation", "linear")
    is_wide = has_wide_weights(training, network["parameterization"])
    if activation == "linear" and not network["bias"]:
        return not is_wide
    most = COMPILED_WIDEST["float64" if is_wide else training["dtype"]]
    return activation in COMPILED_ACTIVATIONS and widest <= most


def is_rule_compiled(training: Mapping[str, Any]) -> bool:
    """Whether compiled steps know the rule and the loss of canonical settings."""
    return training["optimizer"] in COMPILED_OPTIMIZERS and training["loss"] in COMPILED_LOSSES


def has_own_rates(training: Mapping[str, Any]) -> bool:
    """Whether parameters of one network differ in learning rate or decay by their settings, canonical ones."""
    return "layers" in training or not training.get("decay_biases", True)


def has_wide_weights(training: Mapping[str, Any], parameterization: str = "standard") -> bool:
    """Whether a network's weights and its optimiser's state are float64 although it trains in float32.

    Weak decay moves a weight by less than float32 can add to it. Gradients stay float32.

    Args:
        training: canonical settings of that section.
        parameterization: of the network; mup makes rates of its own.
    """
    own = training.get("layers", {}).values()
    decays = bool(training["weight_decay"]) or any(layer.get("weight_decay") for layer in own)
    if training["dtype"] != "float32" or not decays:
        return False
    if has_own_rates(training) or parameterization == "mup":
        return True
    return _smallest_factor(training) * training["learning_rate"] * training["weight_decay"] < WIDE_BELOW


def _smallest_factor(training: Mapping[str, Any]) -> float:
    """The least that a schedule leaves of the learning rate for a time in which decay could be seen.

    The last stage of `step` may be all of a trial but its start. Below a tenth, `cosine` and `warmup` do not stay long
    enough for the decay in between to be told from rounding.
    """
    if training["schedule"] == "step":
        stages = max(training["steps"] - 1, 0) // training["schedule_steps"]
        return float(min(1.0, training["schedule_factor"]) ** stages)
    return 1.0 if training["schedule"] == "constant" else 0.1


INITIALISATIONS: Final[dict[str, tuple[str, ...]]] = {
    "he": ("scale",),
    "xavier": ("scale",),
    "xavier_uniform": ("scale",),
    "lecun": ("scale",),
    "normal": ("scale",),
    "orthogonal": ("scale",),
    "uniform": ("scale",),
    "layer_scales": ("scale", "first", "last"),
    "neuron_balanced": ("scale",),
    "balanced": ("scale",),
    "given": ("scale", "weights_id"),
}
"""Scheme -> the settings under `init` that it reads."""

GRAPH_SCHEMES: Final = ("he", "xavier", "xavier_uniform", "lecun", "normal", "orthogonal", "uniform", "given")
"""Schemes that every kind of network has; the others weigh adjacent layers, where these form a chain."""
FAN_IN_SCHEMES: Final = ("he", "lecun", "uniform")
"""Schemes whose variance is ~ 1/fan_in at every layer: what mup scales."""
NOT_FOR_MUP: Final = ("normal", "neuron_balanced")
"""Schemes whose first or hidden weights grow beyond what mup keeps of order one."""

_HELD_OUT = ("test_samples", "test_fraction", "seed")
DATA_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "linear_teacher": ("samples", "inputs", "outputs", "spectrum", "noise", "covariance", "test_samples", "seed"),
    "clusters": ("strengths", "counts", "offset", "radius"),
    "single_index": ("samples", "inputs", "link", "noise", "test_samples", "seed"),
    "multi_index": ("samples", "inputs", "outputs", "directions", "link", "noise", "test_samples", "seed"),
    "sparse_parity": ("samples", "inputs", "order", "test_samples", "seed"),
    "conv_teacher": (
        *("samples", "channels", "size", "patch", "filters", "pooling", "link", "outputs", "noise", "test_samples"),
        "seed",
    ),
    "modular_addition": ("modulus", "fraction", "test_fraction", "encoding", "equals_sign", "seed"),
    "digits": ("samples", "layout", *_HELD_OUT),
    "iris": ("standardise", *_HELD_OUT),
    "wine": ("standardise", *_HELD_OUT),
    "breast_cancer": ("standardise", *_HELD_OUT),
    "diabetes": ("standardise", *_HELD_OUT),
    "uploaded": ("dataset_id", "vocabulary", "test_fraction", "seed"),
}
"""Kind -> the settings under `data` that it reads."""


class Table(NamedTuple):
    """Sizes of a data set that ships with scikit-learn; a test holds them against it."""

    samples: int
    inputs: int
    outputs: int
    names_classes: bool = True
    """Whether targets are one-hot rows."""


TABLES: Final[dict[str, Table]] = {
    "digits": Table(1797, 64, 10),
    "iris": Table(150, 4, 3),
    "wine": Table(178, 13, 3),
    "breast_cancer": Table(569, 30, 2),
    "diabetes": Table(442, 10, 1, names_classes=False),
}
"""Kinds of data that are tables of scikit-learn's."""

_CLASSES = (*(kind for kind, table in TABLES.items() if table.names_classes), "modular_addition")
CLASS_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "cross_entropy": _CLASSES,
    "logistic": (*_CLASSES, "sparse_parity"),
}
"""Loss -> the kinds whose targets name classes as it reads them; of uploaded targets only the values tell."""


def share(total: int, fraction: float) -> int:
    """How many of `total` rows a fraction is: the nearest whole number, half a row being one."""
    return int(total * fraction + 0.5)


LINKS: Final = ("relu", "tanh", "quadratic", "hermite2", "hermite3")
"""Link functions of index models and of convolutional teachers."""

POOLINGS: Final = ("sum", "mean", "max")
ENCODINGS: Final = ("one_hot", "tokens")
LAYOUTS: Final = ("flat", "image")

STREAM_PURPOSES: Final = ("data", "teacher", "noise", "test", "init", "batches")
"""Purposes of the random streams; `init` is drawn per layer as `init/<layer>`."""
