"""Request and response bodies of the REST API, each field described: what /docs shows and the client reads."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic.types import JsonValue

from service.errors import InvalidRequest
from service.grid.document import check_plain
from service.grid.outline import Seed, Tag
from service.grid.problems import Problems
from service.states import ExperimentState, TrialState

T = TypeVar("T")


class Body(BaseModel):
    """Base of every answer: numbers that are not finite are null."""

    model_config = ConfigDict(ser_json_inf_nan="null")


class Page(Body, Generic[T]):
    """A page of a list."""

    items: list[T]
    next_cursor: str | None = Field(None, description="Give it as `cursor` to go on; null at the end.")


class Problem(Body):
    """Every error, as application/problem+json (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(description="What kind of error this is.")
    status: int
    code: str = Field(description="The same for scripts: a word that does not change.")
    detail: str = Field(description="What was received, what is allowed, and the next step.")
    errors: list[dict[str, Any]] = Field([], description="One entry per wrong field: path, message, received, ..")
    request_id: str | None = Field(None, description="Of this request, as in the service's log.")


class TrialCounts(Body):
    """How many trials a grid has."""

    total: int = Field(description="Points times seeds.")
    new: int = Field(description="Trials that nobody had submitted before: the work this causes.")
    reused: int = Field(description="Trials that exist already and are shared; nothing is computed twice.")


class Submitted(Body):
    """A stored experiment."""

    id: str
    name: str
    state: ExperimentState
    trials: TrialCounts


class Preview(Body):
    """What a grid would cost; nothing is stored."""

    trials: int = Field(description="Points times seeds.")
    new: int
    reused: int
    stacks: int = Field(description="Sets of trials trained together, on the trainers there are now.")
    estimated_seconds: float = Field(description="From counted operations and a nominal speed; rough.")
    axes: dict[str, list[Any]] = Field(description="Varying path -> its values.")
    ignored: list[str] = Field(description="Settings given that no trial reads, and exclusions that match nothing.")


class ExperimentBody(Body):
    """An experiment as it stands."""

    id: str
    name: str
    owner: str
    state: ExperimentState = Field(description="Derived from its trials, plus `paused`.")
    tags: list[str]
    notes: str
    priority: int
    axes: list[str] = Field(description="Paths that vary.")
    created_at: datetime
    counts: dict[TrialState, int] = Field(description="Its trials by state.")
    progress: float = Field(description="Share of its trials that have ended, 0 to 1.")
    eta_seconds: float | None = Field(description="Until it ends, at its rate so far; null before the first end.")


class Request(BaseModel):
    """Base of every small JSON request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, written: Any) -> Any:
        """What no database can hold is refused here as it is in grids."""
        problems = Problems()
        check_plain(written, problems)
        problems.raise_as(InvalidRequest)
        return written


class Retry(Request):
    """Which ended trials to run again."""

    which: Literal["failed", "diverged", "cancelled"]


class Thinning(Request):
    """Which measured steps to keep."""

    keep_every: int = Field(ge=2, le=1_000_000, description="Of a trial's measured steps; first and last always stay.")


class Extension(Request):
    """What to add to a grid."""

    axes: dict[str, Any] = Field({}, max_length=64, description="Path -> further values, as on a grid's axes.")
    seeds: Annotated[int, Field(ge=0, le=1_000_000)] | Annotated[list[Seed], Field(max_length=1_000_000)] = Field(
        0, description="Further seeds; n for 0 .. n-1, or a list."
    )


class NewClaims(Request):
    """Statements to add to an experiment, as under a grid's `claims`."""

    claims: list[dict[str, Any]] = Field(min_length=1, max_length=200)


class Changes(Request):
    """What to change of an experiment; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=200)
    notes: str | None = Field(None, max_length=20_000)
    tags: list[Tag] | None = Field(None, max_length=50)
    priority: int | None = Field(None, ge=-1_000_000, le=1_000_000, description="Higher runs first.")


class Thinned(Body):
    """What thinning did."""

    thinned: int = Field(description="Trials that now have every n-th measured step, the first and the last.")
    unfinished: int = Field(description="Trials left as they are, since they have not ended.")
    shared: int = Field(description="Trials left as they are, since other experiments hold them too.")
    unfit: int = Field(description="Trials left as they are: thinned before, to a number of which n is no multiple.")
    rows: int = Field(description="Rows deleted.")


class StepCountsBody(Body):
    """Optimiser steps of an experiment's trials."""

    done: int = Field(description="By ended trials, and by running ones up to their last stored measurement.")
    left: int = Field(description="For unfinished trials, if none stops early.")


class ExperimentDetail(ExperimentBody):
    """An experiment with the grid it came from."""

    grid: dict[str, Any]
    steps: StepCountsBody


class TrialBody(Body):
    """One point of a grid with one seed."""

    id: str
    fingerprint: str = Field(description="SHA-256 of the settings, the seed and the kernels' numerical version.")
    state: TrialState
    settings: dict[str, Any] = Field(description="In canonical form: defaults filled in, unread settings dropped.")
    seed: int
    attempt: int = Field(description="How often it was leased to a dispatcher.")
    failures: int = Field(description="How often it failed by its own fault.")
    error: str | None
    last_step: int | None = Field(description="Step of its last measurement; where a diverged trial ended.")
    final: dict[str, float | str | None] = Field(
        description="Metrics at the last step: `alignment` is the first measured layer's, `alignment[2]` layer 2's."
    )
    provenance: dict[str, Any] | None = Field(description="Versions, device, node, seconds, steps per second.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class AttemptBody(Body):
    """One attempt at a trial."""

    number: int
    dispatcher: str
    host: str | None = Field(description="The machine of its trainer; null before it had one.")
    node: str | None = Field(description="Ray's name of that machine.")
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None = Field(
        description="completed, diverged, failed, cancelled, paused, expired, released, restarted or interrupted; "
        "null while it runs."
    )
    error: str | None


class TrialDetail(TrialBody):
    """A trial with the history of its attempts."""

    attempts: list[AttemptBody]


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


class StateEvent(Body):
    """Data of `event: state`: the experiment's state changed."""

    state: ExperimentState
    before: ExperimentState | None = Field(description="null where the caller knew none.")


class ProgressEvent(Body):
    """Data of `event: progress`, whose id names this snapshot: give the last one as Last-Event-ID to go on."""

    state: ExperimentState
    counts: dict[TrialState, int]
    progress: float
    eta_seconds: float | None


class EndEvent(Body):
    """Data of `event: end`: every trial has ended; the stream ends too."""

    state: ExperimentState


class DeletedEvent(Body):
    """Data of `event: deleted`: the experiment is gone; the stream ends too."""

    id: str


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


class PresetBody(Body):
    """A grid that ships with the service."""

    name: str
    title: str
    trials: int


class Presets(Body):
    """All presets."""

    items: list[PresetBody]


class PresetDetail(PresetBody):
    """A preset with its grid, ready to POST."""

    description: str
    grid: dict[str, Any]


class DatasetBody(Body):
    """An uploaded dataset."""

    id: str = Field(description="The SHA-256 of the body that was uploaded, and of the mapping, where one was given.")
    sha256: str
    name: str
    arrays: dict[str, list[int]] = Field(description="Array name -> shape.")
    columns: dict[str, list[str]] = Field(
        {}, description="Array name -> the columns of a table, or the one array of a file, that it was made of."
    )
    left_out: list[str] = Field([], description="Columns or arrays of the file that were not taken.")
    notes: list[str] = Field([], description="What was done to the numbers: labels made one-hot, channels moved.")
    losses: list[str] | None = Field(
        None, description="Losses over classes that can read the targets; null: none was looked for."
    )
    created_at: datetime


class MetricDefinition(Body):
    """What a metric is."""

    id: str
    formula: str
    level: str = Field(description="network: one value per step; layer: one per step and layer.")
    unit: str
    range: str
    source: str
    default: bool = Field(description="Whether `measure.metrics: default` measures it.")
    words: list[str] = Field(description="The values of a metric whose value is a word.")
    version: int


class MetricDefinitions(Body):
    """All metrics."""

    items: list[MetricDefinition]


class DispatcherBody(Body):
    """A dispatcher and what it has."""

    id: str
    host: str
    pid: int
    slots: int = Field(description="Trainers that run at once.")
    alive: bool = Field(description="Whether it has been heard of within the last 20 seconds.")
    started_at: datetime
    seen_at: datetime
    resources: dict[str, Any]


class Cluster(Body):
    """Who works on the queue."""

    dispatchers: list[DispatcherBody]
    queued: int
    running: int


class Health(Body):
    """The process is alive; with `schema`, the store is reachable and current."""

    status: str = "ok"
    schema_revision: str | None = None
