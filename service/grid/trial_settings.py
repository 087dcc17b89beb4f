"""What defines one trial, except its seed: the block under `trial` in a grid, validated and in canonical form.

The service validates grids with these types and the workers train from their canonical form, so a setting has one
meaning on both sides. Canonical form keeps only the fields that the chosen variant reads: two grids that differ in
an ignored field are the same trials.
"""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from nfa_kernels import names
from service.grid.data_settings import DataSettings
from service.grid.inputs import InputsList
from service.grid.network_settings import MAX_LAYER, NetworkSettings
from service.grid.setting_types import Count, PositiveList, Ranges, Real, Section, StepList, WholeRanges, listed, one_of

LAYER_KEY: Final = re.compile(r"[1-9][0-9]{0,5}|[A-Za-z_][A-Za-z0-9_]{0,63}")
"""Under `training.layers`: a number without leading zeros, or a name."""
LAYER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}(?:\.(?:query|key|value|output))?")
"""Of a measured layer; a map of an attention has the attention's name before its own."""
ALWAYS_MEASURED = ("train_loss", "relative_loss")


def _metric_id(value: str) -> str:
    """A metric with an id of its own, or a member of a family such as agop_singular_value@1."""
    return value if names.family_member(value) else one_of(names.METRICS)(value)


def _known_id(value: str) -> str:
    """The same, or one on other inputs, as alignment/test."""
    return value if names.definition_of(value) else one_of(names.METRICS)(value)


Dtype = Annotated[str, AfterValidator(one_of(names.DTYPES)), listed(names.DTYPES)]
Initialisation = Annotated[str, AfterValidator(one_of(names.INITIALISATIONS)), listed(names.INITIALISATIONS)]
Loss = Annotated[str, AfterValidator(one_of(names.LOSSES)), listed(names.LOSSES)]
MetricId = Annotated[str, AfterValidator(_metric_id)]
Optimizer = Annotated[str, AfterValidator(one_of(names.OPTIMIZERS)), listed(names.OPTIMIZERS)]
AskedMetric = Annotated[str, AfterValidator(_known_id), Field(max_length=200)]
"""What may be asked about: a metric on other inputs too."""
LayerNumber = Annotated[Count, Field(ge=1, le=MAX_LAYER)]
LayerName = Annotated[str, Field(pattern=rf"^{LAYER_NAME.pattern}$")]
Schedule = Annotated[str, AfterValidator(one_of(names.SCHEDULES)), listed(names.SCHEDULES)]


class InitSettings(Section):
    """The initial weights."""

    scheme: Initialisation = Field("he", description="Distribution of the initial weights.")
    scale: Real = Field(1.0, ge=0, description="Multiplies every initial weight.")
    first: Real = Field(1.0, description="layer_scales: multiplies the first layer.")
    last: Real = Field(1.0, description="layer_scales: multiplies the last layer.")
    weights_id: str | None = Field(
        None,
        max_length=128,
        description="given: id of an upload with arrays w1 .. wL, each (d_l, d_{l-1}); of a graph, every parameter by "
        "its layer's name.",
    )

    @model_validator(mode="after")
    def _weights_named(self) -> Self:
        if self.scheme == "given" and self.weights_id is None:
            raise ValueError("scheme given needs weights_id: upload the weights with POST /datasets and name its id")
        return self


class PlateauSettings(Section):
    """A metric that stays as it is."""

    metric: str = Field(min_length=1, max_length=100, description="Its id.")
    layer: LayerNumber | LayerName | None = Field(None, description="Where; null: the first measured layer.")
    over: Count = Field(ge=1, description="For so many steps.")
    change: Real = Field(ge=0, description="The largest less the smallest value, at most.")


class StopSettings(Section):
    """When to end a trial, as completed, before its last step: at the first measured step where one of these holds."""

    loss_below: Real | None = Field(None, gt=0, description="The training loss is lower.")
    when: Annotated[str, Field(min_length=1, max_length=4000)] | None = Field(
        None, description="What was measured matches this filter, as final.alignment >= 0.999999."
    )
    plateau: PlateauSettings | None = Field(None, description="A metric has not changed.")
    at_least: Count | None = Field(None, ge=0, description="Not before this step.")

    @model_validator(mode="after")
    def _stops_at_something(self) -> Self:
        if self.loss_below is None and self.when is None and self.plateau is None:
            raise ValueError("give loss_below, when or plateau")
        return self


class LayerSettings(Section):
    """What one layer has of its own."""

    learning_rate: Real | None = Field(None, ge=0, description="Instead of training.learning_rate; 0: it stays.")
    weight_decay: Real | None = Field(None, ge=0, description="Instead of training.weight_decay.")


def _layer_key(value: str) -> str:
    """A layer's number, or its name."""
    if not LAYER_KEY.fullmatch(value):
        raise ValueError("a layer is named by its number from 1, or by a name of letters, digits and _")
    return value


LayerKey = Annotated[str, AfterValidator(_layer_key)]


class TrainingSettings(Section):
    """The optimiser and its hyper-parameters."""

    optimizer: Optimizer = Field("gd", description="Update rule.")
    learning_rate: Real = Field(0.02, gt=0, description="Step size.")
    weight_decay: Real = Field(0.0, ge=0, description="Coupled or decoupled, as the rule defines it.")
    layers: dict[LayerKey, LayerSettings] = Field(
        {},
        max_length=1000,
        description="Layers with numbers of their own, as {1: {learning_rate: 0.01, weight_decay: 0}}; paths such as "
        "training.layers.1.learning_rate are axes.",
    )
    decay_biases: bool = Field(True, description="Whether biases decay like weights.")
    steps: Count = Field(6000, ge=0, le=1_000_000_000, description="Updates; 0 measures the initial weights.")
    batch_size: Count | None = Field(None, ge=1, description="Minibatch size; null: the full batch.")
    batch_order: Literal["shuffle", "cyclic"] = Field("shuffle", description="Order of the minibatches.")
    loss: Loss = Field(
        "half",
        description="half, sum, mse: 1/2, 1, 1/k times mean |f - y|^2; huber; cross_entropy, logistic: targets name "
        "classes.",
    )
    huber_delta: Real = Field(1.0, gt=0, description="huber: residuals beyond it count linearly.")
    label_smoothing: Real = Field(
        0.0, ge=0, lt=1, description="cross_entropy: targets are (1 - e) y + e/k, e being this number."
    )
    dtype: Dtype = Field(
        "float64", description="Of training; measuring is float64 unless measure.dtype says otherwise."
    )
    momentum: Real = Field(0.9, ge=0, lt=1, description="momentum, nesterov, sgdw, muon.")
    beta1: Real = Field(0.9, ge=0, lt=1, description="adam, adamw, lion: decay of the running mean.")
    beta2: Real | None = Field(None, ge=0, lt=1, description="Default 0.999; lion 0.99.")
    epsilon: Real | None = Field(None, gt=0, description="Default 1e-8; adagrad 1e-10.")
    rho: Real = Field(0.99, ge=0, lt=1, description="Decay of rmsprop's running mean of squares.")
    horizon: Real = Field(20.0, gt=0, description="gradient_flow: final time.")
    rtol: Real = Field(1e-10, gt=0, lt=1, description="gradient_flow: relative tolerance.")
    atol: Real = Field(1e-12, gt=0, lt=1, description="gradient_flow: absolute tolerance.")
    schedule: Schedule = Field("constant", description="Factor on the learning rate over steps.")
    schedule_steps: Count | None = Field(
        None, ge=1, description="step: length of a stage (default steps/3); warmup: its length (default steps/10)."
    )
    schedule_factor: Real = Field(0.1, gt=0, description="step: factor from one stage to the next.")
    stop: StopSettings | None = Field(
        None, description="null, or when to end early: loss_below, when, plateau, at_least."
    )
    device: Literal["auto", "cpu", "gpu"] = Field("auto", description="Where to train; not part of the fingerprint.")
    keep: Literal["state"] | None = Field(
        None,
        description="state: keep where a trial ends, for a longer one to go on from; not part of the fingerprint.",
    )

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        rule = names.OPTIMIZERS[self.optimizer].minibatches
        if rule == "never" and self.batch_size is not None:
            raise ValueError(f"{self.optimizer} takes no batch_size: it uses the full batch; sgd takes minibatches")
        if rule == "required" and self.batch_size is None:
            raise ValueError(f"{self.optimizer} needs a batch_size; gd is the full-batch rule")
        return self

    @model_validator(mode="after")
    def _flow_is_exact(self) -> Self:
        if self.optimizer == "gradient_flow" and self.dtype != "float64":
            raise ValueError("gradient_flow needs dtype float64: its tolerances lie below the rounding of float32")
        return self


class MeasureSettings(Section):
    """When and what to measure. Give at most one of points, every and steps."""

    points: Count | None = Field(None, ge=1, le=1_000_000, description="Number of measured steps; default 60.")
    spacing: Literal["log", "linear"] = Field(
        "log",
        description="log: 0 and round(geomspace(1, steps, points - 1)); linear: round(linspace(0, steps, points)).",
    )
    every: Count | None = Field(None, ge=1, description="Measure steps 0, n, 2n, ..")
    steps: Annotated[StepList | None, WholeRanges] = Field(
        None, min_length=1, max_length=1_000_000, description="Measure these steps; the last one always is."
    )
    layers: Literal["first", "all"] | Annotated[list[LayerNumber | LayerName], Field(fail_fast=True)] = Field(
        "first", description="Layers whose metrics are measured: first, all, or a list of numbers from 1 and names."
    )
    metrics: Literal["default", "all"] | Annotated[list[MetricId], Field(fail_fast=True)] = Field(
        "default",
        description="default, all, or a list of ids; families as agop_singular_value@1. Some, as sharpness, which is "
        "costly, are measured where they are named alone.",
    )
    exponents: Annotated[PositiveList, Ranges] = Field([], max_length=256, description="For alignment@a.")
    inputs: InputsList = Field(
        [],
        description="Further inputs over which metrics of the AGOP are measured, beside train: test, {dataset: ID}, "
        "{probes: n, seed: 0, scale: 1.0}; as alignment/test.",
    )
    weights: Annotated[StepList, WholeRanges] = Field([], max_length=64, description="Steps whose weights to keep.")
    dtype: Dtype = Field(
        "float64",
        description="Of outputs and Jacobians. float32 measures networks with an activation that train in float32 in "
        "less time, to about six digits; other networks do not read it.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in ("points", "every", "steps") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of points, every and steps, not {' and '.join(given)}")
        return self

    @property
    def measured_metrics(self) -> list[str]:
        """Ids of what is measured, in the registry's order."""
        if self.metrics == "all":
            return [name for name, metric in names.METRICS.items() if not metric.only_named]
        chosen = names.DEFAULT_METRICS if self.metrics == "default" else (*ALWAYS_MEASURED, *self.metrics)
        members = {member for name in self.metrics if (member := names.family_member(name))}
        counted = sorted(
            (names.COUNTED_FAMILIES.index(family), int(number))
            for family, number in members
            if family in names.COUNTED_FAMILIES
        )
        return [
            *(name for name in names.METRICS if name in chosen),
            *(f"{names.COUNTED_FAMILIES[place]}@{number}" for place, number in counted),
        ]

    @property
    def measured_exponents(self) -> list[float]:
        """Exponents of alignment@a, sorted: those under `exponents`, and those written out under `metrics`."""
        members = {member for name in self.metrics if (member := names.family_member(name))}
        return sorted({*map(float, self.exponents), *(a for family, a in members if family == "alignment")})


class TrialSettings(Section):
    """Everything under `trial`: with a seed, what is trained and measured."""

    data: DataSettings = DataSettings()
    network: NetworkSettings = NetworkSettings()
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings()
    measure: MeasureSettings = MeasureSettings()
