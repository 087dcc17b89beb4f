"""Ids of metrics on inputs other than the training set, and the definitions behind ids. Torch-free."""

import re
from typing import Final, Literal, NamedTuple

from nfa_kernels.metric_names import METRIC_FAMILIES, METRICS, MetricName, family_member

ON_INPUTS: Final = frozenset(
    {
        *("alignment", "alignment_half", "alignment_one", "residual", "scale", "best_exponent", "best_exponent_kind"),
        *("best_alignment", "null_floor", "agop_rank", "pearson", "pearson_offdiagonal", "nfa_dnfa", "nfa_agopfl"),
        *("uc_nfa", "c_nfa", "agop_norm", "agop_stable_rank", "agop_singular_value"),
        *("pearson_half", "pearson_half_zero_diagonal"),
        *("gram_agop_subspace", "teacher_overlap"),
    }
)
"""Metrics, and families by the name before their @, that follow from Jacobians averaged over inputs, of any kind."""
TRAIN: Final = "train"
"""The inputs over which they are averaged unless it is said; part of no id."""
_INPUTS = re.compile(
    r"test|data-(?P<data>[0-9a-f]{64})"
    r"|probes-(?P<count>[1-9][0-9]{0,5})-(?P<seed>0|[1-9][0-9]{0,17})-(?P<scale>[0-9.]+(?:e[+-]?[0-9]+)?)"
)


class Inputs(NamedTuple):
    """Inputs other than the training set: the test set, an uploaded set, or Gaussian probes."""

    kind: Literal["test", "data", "probes"]
    dataset: str = ""
    count: int = 0
    seed: int = 0
    scale: float = 1.0

    @property
    def id(self) -> str:
        """As it stands behind a metric's id and a slash; reads back as the same inputs."""
        if self.kind == "test":
            return "test"
        if self.kind == "data":
            return f"data-{self.dataset}"
        short = f"{self.scale:g}" if float(f"{self.scale:g}") == self.scale else repr(self.scale)
        return f"probes-{self.count}-{self.seed}-{short.replace('+', '')}"


def read_inputs(text: str) -> Inputs | None:
    """Inputs by their id; None for train, and for any other text."""
    match = _INPUTS.fullmatch(text)
    if match is None:
        return None
    if text == "test":
        return Inputs("test")
    if match["data"]:
        return Inputs("data", match["data"])
    try:
        scale = float(match["scale"])
    except ValueError:
        return None
    return Inputs("probes", "", int(match["count"]), int(match["seed"]), scale) if 0 < scale < float("inf") else None


def on_inputs(name: str, inputs: str) -> str:
    """Id of a metric on inputs: alignment/test, agop_singular_value@1/probes-1000-0-1; on train the metric's own."""
    return name if inputs == TRAIN else f"{name}/{inputs}"


def split_inputs(name: str) -> tuple[str, str]:
    """The metric and the inputs of an id; train where it names none."""
    metric, _, inputs = name.partition("/")
    return metric, inputs or TRAIN


def takes_inputs(metric: str) -> bool:
    """Whether a metric, or a member of a family, may be taken on other inputs."""
    return metric.partition("@")[0] in ON_INPUTS and definition_of(metric) is not None


def definition_of(name: str) -> MetricName | None:
    """The definition behind a metric's id, a family's for its members, on any inputs; None for any other text."""
    metric, _, inputs = name.partition("/")
    if inputs or name.endswith("/"):
        known = read_inputs(inputs)
        return definition_of(metric) if known is not None and known.id == inputs and takes_inputs(metric) else None
    if name in METRICS:
        return METRICS[name]
    member = family_member(name)
    families = {form.partition("@")[0]: metric for form, metric in METRIC_FAMILIES.items()}
    return None if member is None else families.get(member.family)


def words_of(name: str) -> tuple[str, ...]:
    """The words that a metric's stored codes stand for; empty for a number, and for any other text."""
    found = definition_of(name)
    return () if found is None else found.words
