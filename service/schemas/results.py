"""Tables, curves, phase diagrams and verdicts."""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.types import JsonValue

from service.questions.pooling import Pooling, Range
from service.schemas.bodies import Body


class Columns(Body):
    """Base of answers with columns named for what was asked."""

    model_config = ConfigDict(ser_json_inf_nan="null", extra="allow")


_KINDS: list[JsonValue] = [{"type": kind} for kind in ("number", "string", "boolean", "null", "array")]


_CELL: JsonDict = {"additionalProperties": {"anyOf": _KINDS}}


_SERIES: JsonDict = {"additionalProperties": {"anyOf": [{"type": "array", "items": {"anyOf": _KINDS}}, *_KINDS]}}


class ResultRow(Columns):
    """One group: a column for each path of `group_by`, and METRIC_AGG for each metric and aggregate asked for.

    With `also` a first column `experiment`; ci95 is METRIC_ci95_low and METRIC_ci95_high; undefined is null.
    """

    model_config = ConfigDict(json_schema_extra=_CELL)

    trials: int = Field(description="Trials of the group.")
    incomplete: int = Field(description="Those of them that did not complete.")


class Curve(Columns):
    """One group: a value for each path of `group_by`, and arrays METRIC_AGG as long as `step` for each aggregate."""

    model_config = ConfigDict(json_schema_extra=_SERIES)

    trials: int = Field(description="Trials of the group.")
    incomplete: int = Field(description="Those of them that did not complete.")
    step: list[int] = Field(description="Measured steps.")
    time: list[float | None] = Field(description="When they were: learning rate times steps, or the flow's time.")


class TrialSeries(Columns):
    """A trial's measurements: arrays as long as `step` for every metric asked for; undefined is null."""

    model_config = ConfigDict(json_schema_extra=_SERIES)

    step: list[int]
    time: list[float | None]


class PhaseMatrix(Body):
    """The same diagram of another experiment."""

    experiment: str
    values: list[list[float | None]]
    counts: list[list[int]]


class Phase(Body):
    """Two paths as a matrix."""

    x: str
    y: str
    x_values: list[Any]
    y_values: list[Any]
    values: list[list[float | None]] = Field(description="One row per value of y; an empty cell is null.")
    counts: list[list[int]] = Field(description="How many trials entered each cell.")
    metric: str
    layer: int
    reduce: str
    agg: str
    also: list[PhaseMatrix] = Field([], description="With `also`: further experiments, on the same axes.")


class PoolingBody(Body):
    """What the groups of a question stand for: seeds of one setting each, or a mixture of settings."""

    over: list[str] = Field(description="Axes that vary within some group, without those that follow from another.")
    trials: tuple[int, int] = Field(description="Completed trials of the smallest and of the largest group.")
    settings: tuple[int, int] = Field(description="How many different settings they have.")
    seeds: tuple[int, int] = Field(description="How many seeds of one setting.")
    says: str = Field(description="As words: 5 seeds, or 60 trials: 5 seeds x 12 settings; pooled over depth.")

    def as_pooling(self) -> Pooling:
        """The same as figures take it."""
        return Pooling(tuple(self.over), Range(*self.trials), Range(*self.settings), Range(*self.seeds))


class DifferenceBody(Body):
    """A setting in which experiments differ."""

    path: str
    values: dict[str, list[Any]] = Field(
        description="Experiment -> the values its trials have; none where no trial reads the setting."
    )


class Differences(Body):
    """The settings in which experiments differ, in the order of sections."""

    items: list[DifferenceBody]


class VerdictBody(Body):
    """A claim, judged."""

    id: str
    says: str
    holds: bool | None = Field(description="null while a trial it is about is unfinished, failed or cancelled.")
    worst: float | None = Field(description="The value that decides: the one furthest from the threshold.")
    threshold: str
    worst_trial: str | None
    worst_group: dict[str, Any] | None
    trials: int = Field(description="Trials that were judged.")
    left_out: dict[str, int] = Field(description="Trials left out: by the gate, and because they diverged.")


class Verdicts(Body):
    """All claims of an experiment."""

    items: list[VerdictBody]
