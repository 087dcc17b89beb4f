"""What defines one trial, except its seed: the block under `trial` in a grid, validated and in canonical form.

The service validates grids with these types and the workers train from their canonical form, so a setting has one
meaning on both sides. Canonical form keeps only the fields that the chosen variant reads: two grids that differ in
an ignored field are the same trials.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from nfa_kernels import names

MAX_DEPTH = 64
DIGITS = 1797
"""Samples of scikit-learn's digits."""
ALWAYS_MEASURED = ("train_loss", "relative_loss")


def _whole(value: Any) -> Any:
    """Accept 6000.0 and 6e3 where a whole number is asked for; YAML and JSON writers produce both."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def one_of(allowed: Mapping[str, Any] | tuple[str, ...]) -> Callable[[str], str]:
    """Validator for a name out of a registry; the error lists what is allowed."""

    def check(value: str) -> str:
        if value not in allowed:
            known = list(allowed)
            raise PydanticCustomError("one_of", "must be one of {names}", {"names": ", ".join(known), "allowed": known})
        return value

    return check


def _metric_id(value: str) -> str:
    """A metric with an id of its own, or a member of a family such as agop_singular_value@1."""
    return value if names.family_member(value) else one_of(names.METRICS)(value)


def _listed(allowed: Mapping[str, Any] | tuple[str, ...]) -> Any:
    """The names in the schema."""
    return Field(json_schema_extra={"enum": list(allowed)})


Activation = Annotated[str, AfterValidator(one_of(names.ACTIVATIONS)), _listed(names.ACTIVATIONS)]
DataKind = Annotated[str, AfterValidator(one_of(names.DATA_KINDS)), _listed(names.DATA_KINDS)]
Dtype = Annotated[str, AfterValidator(one_of(names.DTYPES)), _listed(names.DTYPES)]
Initialisation = Annotated[str, AfterValidator(one_of(names.INITIALISATIONS)), _listed(names.INITIALISATIONS)]
Link = Annotated[str, AfterValidator(one_of(names.LINKS)), _listed(names.LINKS)]
Loss = Annotated[str, AfterValidator(one_of(names.LOSSES)), _listed(names.LOSSES)]
MetricId = Annotated[str, AfterValidator(_metric_id)]
Optimizer = Annotated[str, AfterValidator(one_of(names.OPTIMIZERS)), _listed(names.OPTIMIZERS)]
Parameterization = Annotated[str, AfterValidator(one_of(names.PARAMETERIZATIONS)), _listed(names.PARAMETERIZATIONS)]
Schedule = Annotated[str, AfterValidator(one_of(names.SCHEDULES)), _listed(names.SCHEDULES)]


def spaced(value: Any) -> Any:
    """Expand `{log: [from, to, count]}` and `{linear: [from, to, count]}` to a list; leave all else as it is."""
    if not (isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in ("log", "linear")):
        return value
    kind, span = next(iter(value.items()))
    if not (isinstance(span, list | tuple) and len(span) == 3 and all(_is_number(part) for part in span)):
        raise ValueError(f"{kind} takes [from, to, count], three numbers")
    start, stop, count = span
    if not (float(count).is_integer() and 1 <= count <= 100_000):
        raise ValueError(f"the count of {kind} must be a whole number from 1 to 100000")
    if kind == "log":
        if not (start > 0 and stop > 0):
            raise ValueError("log takes two positive ends")
        return _rounded(np.geomspace(start, stop, int(count)))
    return _rounded(np.linspace(start, stop, int(count)))


def _rounded(values: np.ndarray) -> list[float]:
    """To 15 digits: 0.01, not 0.010000000000000002, and the same numbers with every release of NumPy."""
    return [float(f"{value:.15g}") for value in values.tolist()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


Count = Annotated[int, BeforeValidator(_whole)]
Real = float
Spectrum = Annotated[list[Annotated[Real, Field(gt=0)]], BeforeValidator(spaced), Field(min_length=1, max_length=4096)]


class Section(BaseModel):
    """Base of every section: unknown keys, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class DataSettings(Section):
    """The training data. Which fields count depends on `kind`."""

    kind: DataKind = Field("linear_teacher", description="Where the data come from.")
    samples: Count = Field(200, ge=1, le=1_000_000, description="Number of training samples n.")
    inputs: Count = Field(10, ge=1, le=65_536, description="Input dimension d.")
    outputs: Count = Field(4, ge=1, le=4_096, description="Output dimension k.")
    spectrum: Spectrum = Field(
        default=[3.0, 2.0, 1.5, 1.0],
        description="Singular values of the teacher A = U diag(spectrum) V^T; a list, {log: [from, to, count]} or "
        "{linear: [from, to, count]}. At most min(inputs, outputs) values.",
    )
    noise: Real = Field(0.1, ge=0, description="Standard deviation of Gaussian noise added to the targets.")
    covariance: Literal["identity", "whitened"] | list[Annotated[Real, Field(gt=0)]] = Field(
        "identity",
        description="Inputs: N(0, I), exactly whitened (X^T X / n = I), or N(0, diag(variances)) from a list of d.",
    )
    strengths: Annotated[list[Annotated[Real, Field(gt=0)]], Field(min_length=1, max_length=4096)] = Field(
        default=[4.0, 1.0, 1.0], description="clusters: target s_j along axis j; as many as inputs and outputs."
    )
    counts: Annotated[list[Annotated[Count, Field(ge=1, le=1_000_000)]], Field(min_length=1, max_length=4096)] = Field(
        default=[1, 64, 64], description="clusters: how often each point occurs."
    )
    offset: Real = Field(0.25, ge=0, description="clusters: x^(j) = radius (e_j - offset sum_{i != j} e_i).")
    radius: Real = Field(1.0, gt=0, description="clusters: multiplies points and targets.")
    link: Link = Field("hermite2", description="single_index, multi_index: function of the projections.")
    directions: Count = Field(2, ge=1, le=4_096, description="multi_index: number of directions.")
    order: Count = Field(3, ge=1, le=65_536, description="sparse_parity: number of coordinates in the product.")
    test_samples: Count = Field(0, ge=0, le=1_000_000, description="Number of held-out samples; 0: no test set.")
    seed: Count | None = Field(
        None, ge=0, le=2**63 - 1, description="Fixes the data for every trial; null: each trial's own seed."
    )
    dataset_id: str | None = Field(
        None,
        max_length=128,
        description="uploaded: id of a dataset with arrays x (n, d) or images (n, c, h, w), y (n, k), x_test, y_test.",
    )

    @model_validator(mode="after")
    def _dataset_named(self) -> Self:
        if self.kind == "uploaded" and self.dataset_id is None:
            raise ValueError("kind uploaded needs dataset_id: upload the data with POST /datasets and name its id")
        return self

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        if self.kind == "clusters" and len(self.counts) != len(self.strengths):
            raise ValueError(
                f"counts lists {len(self.counts)} numbers for {len(self.strengths)} strengths: give as many"
            )
        if self.kind == "multi_index" and self.directions > self.inputs:
            raise ValueError(f"directions must be at most inputs = {self.inputs}, not {self.directions}")
        if self.kind == "sparse_parity" and self.order > self.inputs:
            raise ValueError(f"order must be at most inputs = {self.inputs}, not {self.order}")
        if self.kind == "digits" and self.samples + self.test_samples > DIGITS:
            raise ValueError(
                f"digits has {DIGITS} samples: samples + test_samples is {self.samples + self.test_samples}"
            )
        return self

    @model_validator(mode="after")
    def _teacher_fits(self) -> Self:
        if self.kind != "linear_teacher":
            return self
        rank = min(self.inputs, self.outputs)
        if len(self.spectrum) > rank:
            raise ValueError(
                f"spectrum lists {len(self.spectrum)} singular values, but a map from {self.inputs} inputs to "
                f"{self.outputs} outputs has {rank}"
            )
        if isinstance(self.covariance, list) and len(self.covariance) != self.inputs:
            raise ValueError(
                f"covariance lists {len(self.covariance)} variances, but there are {self.inputs} inputs: "
                "give one variance per input"
            )
        if self.covariance == "whitened" and self.samples < self.inputs:
            raise ValueError(
                f"covariance whitened needs at least as many samples as inputs, not {self.samples} for {self.inputs}"
            )
        return self


class NetworkSettings(Section):
    """A fully connected network without activation on its output."""

    depth: Count = Field(3, ge=1, le=MAX_DEPTH, description="Number of layers L.")
    width: Annotated[Count, Field(ge=1, le=65_536)] | list[Annotated[Count, Field(ge=1, le=65_536)]] = Field(
        16, description="Hidden width: one number, or one per hidden layer (depth - 1 numbers)."
    )
    activation: Activation = Field("linear", description="Activation of the hidden layers.")
    slope: Real = Field(0.1, description="Negative slope of leaky_relu.")
    bias: bool = Field(False, description="Whether layers have biases.")
    parameterization: Parameterization = Field("standard", description="Scaling of the layers.")

    @model_validator(mode="after")
    def _widths_fit(self) -> Self:
        if isinstance(self.width, list) and len(self.width) != self.depth - 1:
            raise ValueError(
                f"width lists {len(self.width)} hidden layers, but depth {self.depth} has {self.depth - 1}: "
                "give one number for all of them or one per hidden layer"
            )
        return self

    @property
    def hidden_widths(self) -> list[int]:
        """Width of each hidden layer, depth - 1 numbers."""
        return self.width if isinstance(self.width, list) else [self.width] * (self.depth - 1)


class InitSettings(Section):
    """The initial weights."""

    scheme: Initialisation = Field("he", description="Distribution of the initial weights.")
    scale: Real = Field(1.0, ge=0, description="Multiplies every initial weight.")
    first: Real = Field(1.0, description="layer_scales: multiplies the first layer.")
    last: Real = Field(1.0, description="layer_scales: multiplies the last layer.")
    weights_id: str | None = Field(
        None, max_length=128, description="given: id of an upload with arrays w1 .. wL, each (d_l, d_{l-1})."
    )

    @model_validator(mode="after")
    def _weights_named(self) -> Self:
        if self.scheme == "given" and self.weights_id is None:
            raise ValueError("scheme given needs weights_id: upload the weights with POST /datasets and name its id")
        return self


class StopSettings(Section):
    """When to end a trial before its last step."""

    loss_below: Real = Field(gt=0, description="End, as completed, at the first measured step with a lower loss.")


class TrainingSettings(Section):
    """The optimiser and its hyper-parameters."""

    optimizer: Optimizer = Field("gd", description="Update rule.")
    learning_rate: Real = Field(0.02, gt=0, description="Step size.")
    weight_decay: Real = Field(0.0, ge=0, description="Coupled or decoupled, as the rule defines it.")
    steps: Count = Field(6000, ge=0, le=1_000_000_000, description="Updates; 0 measures the initial weights.")
    batch_size: Count | None = Field(None, ge=1, description="Minibatch size; null: the full batch.")
    batch_order: Literal["shuffle", "cyclic"] = Field("shuffle", description="Order of the minibatches.")
    loss: Loss = Field(
        "half",
        description="half, sum, mse: 1/2, 1, 1/k times mean |f - y|^2; cross_entropy, logistic: targets name classes.",
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
    stop: StopSettings | None = Field(None, description="null, or {loss_below: x}.")
    device: Literal["auto", "cpu", "gpu"] = Field("auto", description="Where to train; not part of the fingerprint.")

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
    steps: list[Annotated[Count, Field(ge=0)]] | None = Field(
        None, min_length=1, max_length=1_000_000, description="Measure these steps; the last one always is."
    )
    layers: Literal["first", "all"] | list[Annotated[Count, Field(ge=1, le=MAX_DEPTH)]] = Field(
        "first", description="Layers whose metrics are measured: first, all, or a list of numbers from 1."
    )
    metrics: Literal["default", "all"] | list[MetricId] = Field(
        "default", description="default, all, or a list of ids; families as agop_singular_value@1."
    )
    exponents: list[Annotated[Real, Field(gt=0)]] = Field([], max_length=256, description="For alignment@a.")
    weights: list[Annotated[Count, Field(ge=0)]] = Field([], max_length=64, description="Steps whose weights to keep.")
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
            return list(names.METRICS)
        chosen = names.DEFAULT_METRICS if self.metrics == "default" else (*ALWAYS_MEASURED, *self.metrics)
        members = {member for name in self.metrics if (member := names.family_member(name))}
        indices = sorted(int(index) for family, index in members if family == "agop_singular_value")
        return [
            *(name for name in names.METRICS if name in chosen),
            *(f"agop_singular_value@{index}" for index in indices),
        ]

    @property
    def measured_exponents(self) -> list[float]:
        """Exponents of alignment@a, sorted: those under `exponents`, and those written out under `metrics`."""
        members = {member for name in self.metrics if (member := names.family_member(name))}
        return sorted({*map(float, self.exponents), *(a for family, a in members if family == "alignment")})

    def measured_layers(self, depth: int) -> list[int]:
        """Numbers of the measured layers, sorted, from 1."""
        if self.layers == "first":
            return [1]
        return list(range(1, depth + 1)) if self.layers == "all" else sorted(set(self.layers))


class TrialSettings(Section):
    """Everything under `trial`: with a seed, what is trained and measured."""

    data: DataSettings = DataSettings()
    network: NetworkSettings = NetworkSettings()
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings()
    measure: MeasureSettings = MeasureSettings()
