"""Every metric's definition, as users see it, and the families of metrics that take a number. Torch-free."""

import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple


@dataclass(frozen=True)
class MetricName:
    """A metric's definition as users see it in `/metric-definitions` and docs/mathematics.md."""

    formula: str
    level: Literal["network", "layer"]
    source: str = ""
    unit: str = "dimensionless"
    range: str = ""
    default: bool = False
    """Measured when `measure.metrics` is `default`; part of the fingerprints of grids that say nothing else."""
    only_named: bool = False
    """Measured where it is named alone: `all` goes on meaning, and costing, what it does in grids that say so."""
    parametrised: bool = False
    """True for families `name@parameter`, which are stored by name instead of in a column of their own."""
    words: tuple[str, ...] = ()
    """For a metric whose value is a word: the words, in the order of their stored codes 0, 1, 2, .."""
    version: int = 1


_NFA = "arXiv:2510.15563"
_RADHAKRISHNAN = "Radhakrishnan et al. 2024, doi:10.1126/science.adi5639"
_CORRELATIONS = "arXiv:2402.05271"
_GROKKING = "arXiv:2407.20199, nmallinar/rfm-grokking"
_INDEX_MODELS = "arXiv:2202.08658"
_FACT = "arXiv:2507.05644"
_EDGE = "arXiv:2103.00065"
_SILENT = "arXiv:2111.00034"
_KERNEL_CHANGE = "arXiv:1906.08034"

METRICS: Final[dict[str, MetricName]] = {
    # network level
    "train_loss": MetricName(
        "data loss on the whole training set, no penalty", "network", unit="loss", range=">= 0", default=True
    ),
    "test_loss": MetricName(
        "data loss on the test set; null without one", "network", unit="loss", range=">= 0", default=True
    ),
    "relative_loss": MetricName(
        "train_loss / (train_loss of the zero function)", "network", range=">= 0", default=True
    ),
    "gradient_norm": MetricName(
        "sqrt(sum_l |dloss/dW_l|_F^2), data loss, no penalty",
        "network",
        unit="loss per weight",
        range=">= 0",
        default=True,
    ),
    "weight_norm": MetricName("sqrt(sum_l |W_l|_F^2)", "network", unit="weight", range=">= 0", default=True),
    "imbalance": MetricName(
        "sqrt(sum_l |D_l|_F^2), D_l = W_{l+1}^T W_{l+1} - W_l W_l^T, l < L",
        "network",
        _NFA,
        "weight^2",
        ">= 0",
        default=True,
    ),
    "imbalance_relative": MetricName(
        "imbalance / sqrt(sum_l |W_{l+1}^T W_{l+1}|_F^2 + |W_l W_l^T|_F^2)",
        "network",
        _NFA,
        range="[0, 1]",
        default=True,
    ),
    "accuracy": MetricName(
        "share of training samples whose class has the strictly largest output (one output: the right side of the "
        "threshold); null unless every target names a class, and where outputs tie because they have underflowed",
        "network",
        unit="share",
        range="[0, 1]",
        default=True,
    ),
    "modes": MetricName(
        "number of singular values of W_L .. W_1 above 0.01; null for nonlinear networks",
        "network",
        unit="count",
        range="0..min(d_0, .., d_L)",
        default=True,
    ),
    "generalisation_gap": MetricName("test_loss - train_loss; null without a test set", "network", unit="loss"),
    "sharpness": MetricName(
        "the algebraically largest eigenvalue of the Hessian of the training loss in all parameters, biases included; "
        "data loss, no penalty; gradient descent is stable below 2 / learning rate (with decay, below that - lambda)",
        "network",
        _EDGE,
        "loss per weight^2",
        only_named=True,
    ),
    "ntk_alignment": MetricName(
        "y^T Theta y / (|Theta|_F |y|^2), not centred; Theta = J J^T, J = df/dtheta on the first training samples, as "
        "many as have 512 outputs together, y their targets as given; null where Theta or y is 0",
        "network",
        _SILENT,
        range="[0, 1]",
        only_named=True,
    ),
    "ntk_movement": MetricName(
        "|Theta - Theta_0|_F / |Theta_0|_F, Theta as in ntk_alignment, Theta_0 at step 0",
        "network",
        _KERNEL_CHANGE,
        range=">= 0",
        only_named=True,
    ),
    # layer level
    "alignment": MetricName("cos(W_l^T W_l, G_l^a), a = 1/(L-l+1)", "layer", _NFA, range="[0, 1]", default=True),
    "alignment_half": MetricName("cos(W_l^T W_l, G_l^(1/2))", "layer", _RADHAKRISHNAN, range="[0, 1]", default=True),
    "alignment_one": MetricName("cos(W_l^T W_l, G_l)", "layer", _RADHAKRISHNAN, range="[0, 1]", default=True),
    "residual": MetricName(
        "|W_l^T W_l - G_l^a / gamma|_F / |W_l^T W_l|_F, a = 1/(L-l+1), gamma = (prod_{j>=l} c_j^2)^a, 1 in the "
        "standard parameterisation",
        "layer",
        _NFA,
        range=">= 0",
        default=True,
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
    "pearson": MetricName(
        "rho(W_l^T W_l, G_l^a), a = 1/(L-l+1); rho: the cosine after subtracting from each matrix its mean entry",
        "layer",
        range="[-1, 1]",
    ),
    "pearson_offdiagonal": MetricName(
        "rho over the off-diagonal entries of W_l^T W_l and G_l^a, a = 1/(L-l+1)", "layer", range="[-1, 1]"
    ),
    "pearson_half": MetricName(
        "rho(W_l^T W_l, G_l^(1/2)); of layer 1 nfa_corr of the source",
        "layer",
        _GROKKING,
        range="[-1, 1]",
        only_named=True,
    ),
    "pearson_half_zero_diagonal": MetricName(
        "rho(W_l^T W_l, G_l^(1/2)) after setting both diagonals to 0, which stay among the entries; of layer 1 "
        "nfa_no_diag_corr of the source",
        "layer",
        _GROKKING,
        range="[-1, 1]",
        only_named=True,
    ),
    "nfa_dnfa": MetricName(
        "cos(dW^T dW, G_l), dW = W_l - W_l at step 0; null before the first update",
        "layer",
        "aradha/deep_neural_feature_ansatz",
        range="[0, 1]",
    ),
    "nfa_agopfl": MetricName(
        "rho(dW^T dW, G_l^(1/2)), dW = W_l - W_l at step 0; null before the first update",
        "layer",
        "aradha/agop_feature_learning",
        range="[-1, 1]",
    ),
    "uc_nfa": MetricName(
        "rho(W_l^T W_l, W_l^T K W_l), K = sum over samples and outputs of (df/dz)(df/dz)^T, z = W_l h",
        "layer",
        _CORRELATIONS,
        range="[-1, 1]",
    ),
    "c_nfa": MetricName(
        "rho(dW^T dW, dW^T K dW), dW = W_l - W_l at step 0, K as in uc_nfa; null before the first update",
        "layer",
        _CORRELATIONS,
        range="[-1, 1]",
    ),
    "fact_alignment": MetricName(
        "cos(W_l^T W_l, F), F = -(1/lambda) W_l^T dloss/dW_l, data loss, the configured weight decay lambda; "
        "null at lambda = 0 or zero loss",
        "layer",
        _FACT,
        range="[-1, 1]",
    ),
    "layer_imbalance": MetricName(
        "|W_{l+1}^T W_{l+1} - W_l W_l^T|_F; null at the last layer", "layer", _NFA, "weight^2", ">= 0"
    ),
    "feature_velocity": MetricName(
        "|dM/dt|_F of M = W_l^T W_l along the gradient flow through the measured weights, dW/dt = -(dloss/dW + "
        "lambda W): what M changes by in a unit of the column time as steps become small, every layer at a rate of one",
        "layer",
        unit="weight^2 per unit of time",
        range=">= 0",
        only_named=True,
    ),
    "gram_norm": MetricName("|W_l^T W_l|_F", "layer", unit="weight^2", range=">= 0"),
    "agop_norm": MetricName("|G_l|_F", "layer", unit="(output per input of the layer)^2", range=">= 0"),
    "gram_stable_rank": MetricName("|M|_F^2 / |M|_2^2 of M = W_l^T W_l", "layer", range="1..min(d_{l-1}, d_l)"),
    "agop_stable_rank": MetricName("|G_l|_F^2 / |G_l|_2^2", "layer", range="1..d_{l-1}"),
}
"""Metric id -> definition. `time` stands beside `step` on every measurement and is not listed here."""

METRIC_FAMILIES: Final[dict[str, MetricName]] = {
    "alignment@a": MetricName(
        "cos(W_l^T W_l, G_l^a) for every exponent a > 0 under measure.exponents, as alignment@0.25",
        "layer",
        range="[0, 1]",
        parametrised=True,
    ),
    "agop_singular_value@i": MetricName(
        "square root of the i-th largest eigenvalue of G_l, i = 1, 2, .., as agop_singular_value@1; "
        "layer 1 of a linear network: the i-th end-to-end singular value",
        "layer",
        unit="output per input of the layer",
        range=">= 0",
        parametrised=True,
    ),
    "gram_agop_subspace@r": MetricName(
        "|U^T V|_F^2 / r, U and V the eigenvectors of the r largest eigenvalues of W_l^T W_l and G_l, as "
        "gram_agop_subspace@2; null where one has no such r: a smaller rank, or a tie of the r-th and the next",
        "layer",
        range="[0, 1]",
        parametrised=True,
    ),
    "teacher_overlap@r": MetricName(
        "|V^T T|_F^2 / min(r, R), V as in gram_agop_subspace@r, T (d, R) an orthonormal basis of what the teacher's "
        "targets depend on: inputs of linear_teacher, single_index, multi_index and sparse_parity, patches of "
        "conv_teacher; null elsewhere, above the first layer, and where it reads other inputs or patches",
        "layer",
        _INDEX_MODELS,
        range="[0, 1]",
        parametrised=True,
    ),
}
"""Families of metrics by the form of their members' ids; a member is stored by its id."""

COUNTED_FAMILIES: Final = ("agop_singular_value", "gram_agop_subspace", "teacher_overlap")
"""Families whose parameter is a whole number from 1."""
_FAMILY_MEMBER = re.compile(
    rf"(?:{'|'.join(COUNTED_FAMILIES)})@([1-9][0-9]{{0,5}})|alignment@([0-9.]+(?:e[+-]?[0-9]+)?)"
)


class FamilyMember(NamedTuple):
    """A metric out of a family: one of `COUNTED_FAMILIES` with a whole number, or `alignment` with an exponent."""

    family: str
    parameter: float


def family_member(name: str) -> FamilyMember | None:
    """Read a parametrised metric's id; None for any other text."""
    match = _FAMILY_MEMBER.fullmatch(name)
    if match is None:
        return None
    try:
        parameter = float(match.group(1) or match.group(2))
    except ValueError:
        return None
    return FamilyMember(name.partition("@")[0], parameter) if 0 < parameter < float("inf") else None


def alignment_id(exponent: float) -> str:
    """Id of the alignment at an exponent: alignment@0.25; the shortest text that reads back as the same number."""
    return f"alignment@{exponent:g}" if float(f"{exponent:g}") == exponent else f"alignment@{exponent!r}"


NETWORK_METRICS: Final = tuple(name for name, metric in METRICS.items() if metric.level == "network")
LAYER_METRICS: Final = tuple(name for name, metric in METRICS.items() if metric.level == "layer")
DEFAULT_METRICS: Final = tuple(name for name, metric in METRICS.items() if metric.default)
