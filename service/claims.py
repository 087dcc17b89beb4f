"""Claims: statements about an experiment with a threshold, and how they are judged. Pure.

A claim first picks trials (`where`), then leaves out those that cannot speak to it: diverged ones, and those that its
gate stops, because a collapsed network is aligned trivially. It says how many it left out.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from nfa_kernels import names
from service import filters
from service.claim_fits import decay_rate, log_log_slope, parse_product
from service.errors import InvalidFilter, InvalidGrid
from service.filters import compares
from service.problems import Problems, deepest
from service.reductions import Reduction, parse_reduction
from service.states import TrialState
from service.trial_settings import MAX_DEPTH, MetricId

DEFAULT_GATE: Final = {"relative_loss": "< 0.5", "agop_rank": ">= 2"}
_CONDITION: Final = re.compile(r"\s*(<=|>=|==|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """OP number."""

    op: str
    number: float

    def holds(self, value: float | None) -> bool:
        """Whether the value satisfies it; an undefined one does not."""
        return compares(value, self.op, self.number)

    def lack(self, value: float | None) -> float:
        """How far the value is from satisfying it; the larger, the worse, and undefined is worst."""
        if value is None or math.isnan(value):
            return math.inf
        if self.op == "==":
            return abs(value - self.number)
        return self.number - value if self.op.startswith(">") else value - self.number


def parse_condition(text: str) -> Condition:
    """Parse "OP number"."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError('must be "OP number" with OP out of <= >= < > ==, as in ">= 0.999"')
    return Condition(found[1], float(found[2]))


def _check_condition(text: str) -> str:
    parse_condition(text)
    return text


def _check_reduction(text: str) -> str:
    parse_reduction(text)
    return text


def _check_where(text: str) -> str:
    try:
        filters.parse(text)
    except InvalidFilter as error:
        raise ValueError(str(error)) from error
    return text


def _check_path(path: str) -> str:
    if path not in filters.SETTINGS and path != "seed":
        raise PydanticCustomError(
            "one_of", "must be a setting or seed", {"allowed": [*filters.SETTINGS, "seed"], "names": ""}
        )
    return path


def _check_product(text: str) -> str:
    parse_product(text)
    return text


ConditionText = Annotated[str, Field(max_length=100), AfterValidator(_check_condition)]
Path = Annotated[str, AfterValidator(_check_path)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, populate_by_name=True)


class GroupClaim(_Part):
    """An aggregate over the trials that agree in some paths."""

    by: list[Path] = Field([], max_length=16)
    agg: Literal["mean", "min", "max", "median"] = "mean"
    condition: ConditionText = Field(alias="is")


class SlopeFit(_Part):
    """Slope of log(transform(value)) against the log of a setting, per group."""

    kind: Literal["log_log_slope"]
    x: Path
    transform: Literal["1-x", "x"] = "x"
    by: list[Path] = Field(["seed"], max_length=16)
    between: Range


class RateFit(_Part):
    """Rate r of value ~ exp(-r t) per trial, fitted to the part of the series that is free of rounding."""

    kind: Literal["rate"]
    against: Literal["time", "step"] = "time"
    start: float = Field(0.0, alias="from", ge=0, lt=1, description="Leaves out t < from * last t.")
    above: float = Field(0.0, ge=0, description="Leaves out values <= above * the first value.")
    divide_by: Annotated[str, Field(max_length=200), AfterValidator(_check_product)] | None = None
    between: Range


class Claim(_Part):
    """One statement and its threshold."""

    id: str = Field(min_length=1, max_length=100)
    says: str = Field("", max_length=2000)
    where: Annotated[str, AfterValidator(_check_where)] = Field("", max_length=filters.MAX_LENGTH)
    metric: MetricId
    layer: Annotated[int, Field(ge=1, le=MAX_DEPTH)] | Literal["all"] = 1
    reduce: Annotated[str, Field(max_length=100), AfterValidator(_check_reduction)] = "final"
    every_trial: ConditionText | None = None
    any_trial: ConditionText | None = None
    group: GroupClaim | None = None
    fit: Annotated[SlopeFit | RateFit, Field(discriminator="kind")] | None = None
    gate: dict[MetricId, ConditionText] | Literal["none"] = Field(DEFAULT_GATE)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in ("every_trial", "any_trial", "group", "fit") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a claim has one of every_trial, any_trial, group and fit, not {' and '.join(given) or 'none'}"
            )
        return self

    @property
    def reduction(self) -> Reduction:
        """How a trial's series becomes one number."""
        return parse_reduction(self.reduce)

    @property
    def layers(self) -> int | Literal["all", "network"]:
        """The layer whose rows are judged; `network` for metrics that have none."""
        return "network" if self.metric in names.NETWORK_METRICS else self.layer

    @property
    def needs_series(self) -> bool:
        """Whether judging takes whole series instead of reduced values."""
        return isinstance(self.fit, RateFit)

    @property
    def threshold(self) -> str:
        """The threshold as words."""
        if self.fit is not None:
            return f"in [{self.fit.between[0]:g}, {self.fit.between[1]:g}]"
        return self.every_trial or self.any_trial or (self.group.condition if self.group else "")


@dataclass(frozen=True, slots=True)
class Series:
    """A metric of one trial, ordered by step; None where undefined."""

    steps: Sequence[int]
    times: Sequence[float]
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """What judging a claim needs to know of a trial."""

    trial: str
    state: TrialState
    lookup: filters.Lookup
    """Settings, seed, state and final.METRIC[layer] by path; a missing metric was not measured."""
    final: Mapping[str, float | None]
    """Final values by the names of a trial's `final`; only what was measured is in it."""
    values: Mapping[int, float | None] = field(default_factory=dict)
    """Layer -> the claim's metric reduced; layer 0 for network metrics. Measured layers only."""
    series: Mapping[int, Series] = field(default_factory=dict)
    """The same as whole series, for claims that need them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a claim holds, and the value that decides."""

    id: str
    says: str
    holds: bool | None
    worst: float | None
    threshold: str
    worst_trial: str | None
    trials: int
    left_out: Mapping[str, int]
    worst_group: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Judged:
    """One number held against the threshold."""

    value: float | None
    trial: str | None
    group: Mapping[str, Any] | None = None


def read_claims(written: Sequence[Any], problems: Problems, path: str = "claims") -> list[Claim]:
    """The claims of a grid; wrong ones are noted under their place and left out."""
    claims: list[Claim] = []
    for index, entry in enumerate(written):
        place = f"{path}[{index}]"
        if not isinstance(entry, Mapping):
            problems.add(place, "must be a mapping", received=entry)
            continue
        try:
            claims.append(Claim.model_validate(dict(entry)))
        except ValidationError as error:
            _note(error, place, problems)
            continue
        if claims[-1].id in (claim.id for claim in claims[:-1]):
            problems.add(f"{place}.id", "another claim has this id", received=claims[-1].id)
    return claims


def parse_claims(written: Sequence[Any]) -> list[Claim]:
    """The claims of a request.

    Raises:
        InvalidGrid: with one entry per wrong field.
    """
    problems = Problems()
    claims = read_claims(written, problems)
    problems.raise_as(InvalidGrid)
    return claims


def judge(claim: Claim, rows: Sequence[Row]) -> Verdict:
    """The verdict on a claim over all trials of an experiment."""
    where = filters.parse(claim.where)
    chosen = [row for row in rows if filters.matches(where, row.lookup)]
    unfinished = any(row.state not in (TrialState.COMPLETED, TrialState.DIVERGED) for row in chosen)
    finished = [row for row in chosen if row.state == TrialState.COMPLETED]
    diverged = sum(row.state == TrialState.DIVERGED for row in chosen)
    speaking = [(row, layers) for row in finished if (layers := _open_layers(claim, row))]
    judged = list(_judged(claim, speaking))
    worst = _worst(claim, judged)
    return Verdict(
        id=claim.id,
        says=claim.says,
        holds=None if unfinished or not judged else _holds(claim, judged),
        worst=worst.value if worst else None,
        threshold=claim.threshold,
        worst_trial=worst.trial if worst else None,
        trials=len(speaking),
        left_out={"gate": len(finished) - len(speaking), "diverged": diverged},
        worst_group=worst.group if worst else None,
    )


def _open_layers(claim: Claim, row: Row) -> list[int]:
    """Layers (0 for the network) of a trial that the claim is about and that its gate lets through."""
    known = row.series if claim.needs_series else row.values
    if claim.layers == "network":
        layers = [0]
    elif claim.layers == "all":
        layers = sorted(known)
    else:
        layers = [claim.layers]
    return [layer for layer in layers if _passes_gate(claim, row, layer)]


def _passes_gate(claim: Claim, row: Row, layer: int) -> bool:
    """Whether the final values satisfy the gate; a condition on what was not measured does not count."""
    if claim.gate == "none":
        return True
    for metric, condition in claim.gate.items():
        key = f"{metric}[{layer}]" if metric in names.LAYER_METRICS and f"{metric}[{layer}]" in row.final else metric
        if key in row.final and not parse_condition(condition).holds(row.final[key]):
            return False
    return True


def _judged(claim: Claim, rows: Sequence[tuple[Row, list[int]]]) -> Iterator[_Judged]:
    """Every number that is held against the threshold."""
    if isinstance(claim.fit, RateFit):
        yield from _rates(claim.fit, rows)
    elif claim.fit is not None:
        yield from _slopes(claim.fit, rows)
    elif claim.group is not None:
        for key, members in _grouped(claim.group.by, rows):
            values = [value for row, layers in members for value in _values(row, layers) if value is not None]
            yield _Judged(_aggregate(claim.group.agg, values), None, key)
    else:
        for row, layers in rows:
            yield from (_Judged(value, row.trial) for value in _values(row, layers))


def _values(row: Row, layers: Sequence[int]) -> list[float | None]:
    return [_defined(row.values.get(layer)) for layer in layers]


def _rates(fit: RateFit, rows: Sequence[tuple[Row, list[int]]]) -> Iterator[_Judged]:
    for row, layers in rows:
        scale = parse_product(fit.divide_by)(row.lookup) if fit.divide_by else 1.0
        for layer in layers:
            series = row.series.get(layer)
            if series is None:
                yield _Judged(None, row.trial)
                continue
            times = series.times if fit.against == "time" else [float(step) for step in series.steps]
            rate = decay_rate(times, series.values, start=fit.start, above=fit.above)
            yield _Judged(_defined(rate / scale) if rate is not None and scale else None, row.trial)


def _slopes(fit: SlopeFit, rows: Sequence[tuple[Row, list[int]]]) -> Iterator[_Judged]:
    for key, members in _grouped(fit.by, rows):
        for layer in sorted({layer for _, layers in members for layer in layers}):
            pairs = [(row.lookup(fit.x), _defined(row.values.get(layer))) for row, layers in members if layer in layers]
            yield _Judged(log_log_slope(pairs, fit.transform), None, key)


def _grouped(
    by: Sequence[str], rows: Sequence[tuple[Row, list[int]]]
) -> Iterator[tuple[dict[str, Any], list[tuple[Row, list[int]]]]]:
    """Trials that agree in the paths, in order of appearance."""
    groups: dict[str, tuple[dict[str, Any], list[tuple[Row, list[int]]]]] = {}
    for row, layers in rows:
        key = {path: row.lookup(path) for path in by}
        groups.setdefault(repr(key), (key, []))[1].append((row, layers))
    yield from groups.values()


def _aggregate(agg: str, values: Sequence[float]) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    match agg:
        case "min":
            return ordered[0]
        case "max":
            return ordered[-1]
        case "median":
            return (ordered[middle] + ordered[~middle]) / 2
    return math.fsum(ordered) / len(ordered)


def _lack(claim: Claim, value: float | None) -> float:
    """How far a value is from the threshold: the larger, the worse."""
    if claim.fit is None:
        return parse_condition(claim.threshold).lack(value)
    low, high = claim.fit.between
    return math.inf if value is None else max(low - value, value - high)


def _satisfies(claim: Claim, value: float | None) -> bool:
    if claim.fit is None:
        return parse_condition(claim.threshold).holds(value)
    return _lack(claim, value) <= 0


def _holds(claim: Claim, judged: Sequence[_Judged]) -> bool:
    found = (_satisfies(claim, one.value) for one in judged)
    return any(found) if claim.any_trial is not None else all(found)


def _worst(claim: Claim, judged: Sequence[_Judged]) -> _Judged | None:
    """The value that decides: furthest from the threshold, or for any_trial the nearest to it."""
    choose = min if claim.any_trial is not None else max
    return choose(judged, key=lambda one: _lack(claim, one.value), default=None)


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _note(error: ValidationError, place: str, problems: Problems) -> None:
    """Pydantic's errors of one claim under its place; of a union's branches the one that went deepest counts."""
    models: dict[str, type[BaseModel]] = {"group": GroupClaim, "fit": RateFit}
    found = [(_place(place, detail["loc"]), detail) for detail in error.errors(include_url=False)]
    for path, detail in deepest(found):
        inner = models.get(str(detail["loc"][0]), Claim) if len(detail["loc"]) > 1 else Claim
        known = [field.alias or name for name, field in inner.model_fields.items()]
        if detail["type"] == "extra_forbidden":
            problems.unknown(path, "key", str(detail["loc"][-1]), known)
        else:
            problems.add_pydantic(detail, path, known)


def _place(place: str, location: Sequence[int | str]) -> str:
    """Path of a pydantic location, without the marks of union branches."""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part not in ("rate", "log_log_slope") and not set(part) & set("[(-"):
            place += f".{part}"
    return place
