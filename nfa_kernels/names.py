"""Names of everything the kernels know, with what each reads: the torch-free part that the service may import.

A registry entry here and the line in the family's `__init__.py` are what makes a name usable; tests hold the two
against each other.
"""

from dataclasses import dataclass
from typing import Final, Literal

NUMERICAL_VERSION: Final = "1"
"""Part of every fingerprint. Raise it when a change alters any trained or measured number beyond rounding."""

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
PARAMETERIZATIONS: Final = ("standard", "ntk", "mean_field")
LOSSES: Final = ("half", "sum", "mse")
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


OPTIMIZERS: Final[dict[str, OptimizerName]] = {
    "gd": OptimizerName(minibatches="never", flops_per_parameter=4),
    "sgd": OptimizerName(minibatches="required", flops_per_parameter=4),
    "momentum": OptimizerName(("momentum",), state_copies=1, flops_per_parameter=6),
    "adam": OptimizerName(("beta1", "beta2", "epsilon"), state_copies=2, flops_per_parameter=14),
    "adamw": OptimizerName(("beta1", "beta2", "epsilon"), decay="decoupled", state_copies=2, flops_per_parameter=14),
}

INITIALISATIONS: Final[dict[str, tuple[str, ...]]] = {
    "he": ("scale",),
    "xavier": ("scale",),
    "lecun": ("scale",),
    "orthogonal": ("scale",),
    "uniform": ("scale",),
    "layer_scales": ("scale", "first", "last"),
    "balanced": ("scale",),
    "given": ("scale", "weights_id"),
}
"""Scheme -> the settings under `init` that it reads."""

DATA_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "linear_teacher": ("samples", "inputs", "outputs", "spectrum", "noise", "covariance", "test_samples", "seed"),
    "uploaded": ("dataset_id",),
}
"""Kind -> the settings under `data` that it reads."""

STREAM_PURPOSES: Final = ("data", "teacher", "noise", "test", "init", "batches")
"""Purposes of the random streams; `init` is drawn per layer as `init/<layer>`."""


@dataclass(frozen=True)
class MetricName:
    """A metric's definition as users see it in `/metric-definitions` and docs/mathematics.md."""

    formula: str
    level: Literal["network", "layer"]
    source: str = ""
    unit: str = "dimensionless"
    range: str = ""
    default: bool = False
    """Measured when `measure.metrics` is `default`; every network metric is."""
    parametrised: bool = False
    """True for families `name@parameter`, which are stored by name instead of in a column of their own."""
    words: tuple[str, ...] = ()
    """For a metric whose value is a word: the words, in the order of their stored codes 0, 1, 2, .."""
    version: int = 1


_NFA = "arXiv:2510.15563"
_RADHAKRISHNAN = "Radhakrishnan et al. 2024, doi:10.1126/science.adi5639"

METRICS: Final[dict[str, MetricName]] = {
    # network level
    "train_loss": MetricName("data loss on the whole training set, no penalty", "network", unit="loss", range=">= 0"),
    "test_loss": MetricName("data loss on the test set; null without one", "network", unit="loss", range=">= 0"),
    "relative_loss": MetricName("train_loss / (train_loss of the zero function)", "network", range=">= 0"),
    "gradient_norm": MetricName(
        "sqrt(sum_l |dloss/dW_l|_F^2), data loss, no penalty", "network", unit="loss per weight", range=">= 0"
    ),
    "weight_norm": MetricName("sqrt(sum_l |W_l|_F^2)", "network", unit="weight", range=">= 0"),
    "imbalance": MetricName(
        "sqrt(sum_l |D_l|_F^2), D_l = W_{l+1}^T W_{l+1} - W_l W_l^T, l < L", "network", _NFA, "weight^2", ">= 0"
    ),
    "imbalance_relative": MetricName(
        "imbalance / sqrt(sum_l |W_{l+1}^T W_{l+1}|_F^2 + |W_l W_l^T|_F^2)", "network", _NFA, range="[0, 1]"
    ),
    # layer level
    "alignment": MetricName("cos(W_l^T W_l, G_l^a), a = 1/(L-l+1)", "layer", _NFA, range="[0, 1]", default=True),
    "alignment_half": MetricName("cos(W_l^T W_l, G_l^(1/2))", "layer", _RADHAKRISHNAN, range="[0, 1]", default=True),
    "alignment_one": MetricName("cos(W_l^T W_l, G_l)", "layer", _RADHAKRISHNAN, range="[0, 1]", default=True),
    "residual": MetricName(
        "|W_l^T W_l - G_l^a|_F / |W_l^T W_l|_F at unit scale, a = 1/(L-l+1)", "layer", _NFA, range=">= 0", default=True
    ),
    "scale": MetricName(
        "best c in W_l^T W_l ~ c G_l^a: <W_l^T W_l, G_l^a> / |G_l^a|_F^2, a = 1/(L-l+1)",
        "layer",
        range=">= 0",
        default=True,
    ),
    "best_exponent": MetricName(
        "argmax over a > 0 of cos(W_l^T W_l, G_l^a) where it is interior, else null",
        "layer",
        range="> 0",
        default=True,
    ),
    "best_exponent_kind": MetricName(
        "where the best exponent lies: interior, lower (a -> 0+), upper (a -> infinity), "
        "flat (all eigenvalues equal: every exponent is best)",
        "layer",
        unit="word",
        default=True,
        words=("interior", "lower", "upper", "flat"),
    ),
    "best_alignment": MetricName(
        "sup over a > 0 of cos(W_l^T W_l, G_l^a), both limits included", "layer", range="[0, 1]", default=True
    ),
    "null_floor": MetricName(
        "tr(W_l^T W_l) tr(G_l^a) / (d_{l-1} |W_l^T W_l|_F |G_l^a|_F), a = 1/(L-l+1): the mean of `alignment` "
        "after a random rotation of one of the two matrices",
        "layer",
        range="[0, 1]",
        default=True,
    ),
    "agop_rank": MetricName("numerical rank of G_l", "layer", unit="count", range="0..d_{l-1}", default=True),
}
"""Metric id -> definition. `time` stands beside `step` on every measurement and is not listed here."""

NETWORK_METRICS: Final = tuple(name for name, metric in METRICS.items() if metric.level == "network")
LAYER_METRICS: Final = tuple(name for name, metric in METRICS.items() if metric.level == "layer")
DEFAULT_METRICS: Final = NETWORK_METRICS + tuple(name for name in LAYER_METRICS if METRICS[name].default)
