"""The form of claims: statements about an experiment, each with one threshold; read and checked here, judged in
claims.py.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from nfa_kernels import names
from service.errors import InvalidClaims, InvalidFilter
from service.grid.network_settings import MAX_LAYER
from service.grid.problems import Problems, deepest, without_most
from service.grid.trial_settings import AskedMetric, LayerName
from service.questions import filters
from service.questions.claim_fits import parse_product
from service.questions.filters import compares
from service.questions.reductions import Reduction, parse_reduction

DEFAULT_GATE: Final = {"relative_loss": "< 0.5", "agop_rank": ">= 2"}
_NUMBER: Final = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CONDITION: Final = re.compile(rf"\s*(<=|>=|==|<|>)\s*([-+]?{_NUMBER})\s*(?:\+-\s*({_NUMBER})\s*)?")


@dataclass(frozen=True, slots=True)
class Condition:
    """OP number, or == number +- tolerance."""

    op: str
    number: float
    tolerance: float = 0.0

    def holds(self, value: float | None) -> bool:
        """Whether the value satisfies it; an undefined one does not."""
        if self.tolerance:
            return value is not None and abs(value - self.number) <= self.tolerance
        return compares(value, self.op, self.number)

    def lack(self, value: float | None) -> float:
        """How far the value is from satisfying it; the larger, the worse, and undefined is worst."""
        if value is None or math.isnan(value):
            return math.inf
        if self.op == "==":
            return abs(value - self.number)
        return self.number - value if self.op.startswith(">") else value - self.number


def parse_condition(text: str) -> Condition:
    """Parse "OP number", or "== number +- tolerance"."""
    found = _CONDITION.fullmatch(text)
    if found is None or (found[3] and found[1] != "=="):
        raise ValueError('must be "OP number" with OP out of <= >= < > ==, as in ">= 0.999", or "== 2.25 +- 0.001"')
    return Condition(found[1], float(found[2]), float(found[3] or 0.0))


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
    if not filters.is_setting(path) and path != "seed":
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


class BoundaryFit(_Part):
    """Value of a setting at which a condition on the metric turns from true to false, per group."""

    kind: Literal["boundary"]
    x: Path
    condition: ConditionText = Field(alias="is")
    by: list[Path] = Field([], max_length=16)
    share: float = Field(0.5, gt=0, le=1, description="Of the trials at a value that satisfy it, for it to hold there.")
    between: Range


Fit = SlopeFit | RateFit | BoundaryFit


class Claim(_Part):
    """One statement and its threshold."""

    id: str = Field(min_length=1, max_length=100)
    says: str = Field("", max_length=2000)
    where: Annotated[str, AfterValidator(_check_where)] = Field("", max_length=filters.MAX_LENGTH)
    metric: AskedMetric
    layer: Annotated[int, Field(ge=1, le=MAX_LAYER)] | LayerName = 1
    reduce: Annotated[str, Field(max_length=100), AfterValidator(_check_reduction)] = "final"
    every_trial: ConditionText | None = None
    any_trial: ConditionText | None = None
    group: GroupClaim | None = None
    fit: Annotated[Fit, Field(discriminator="kind")] | None = None
    gate: dict[AskedMetric, ConditionText] | Literal["none"] = Field(DEFAULT_GATE)

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
    def layers(self) -> int | str:
        """The layer whose rows are judged, by number or name; all of them, or `network` for metrics that have none."""
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


_KNOWN = tuple(field.alias or name for name, field in Claim.model_fields.items())


def read_claims(written: Sequence[Any], problems: Problems, path: str = "claims") -> list[Claim]:
    """The claims of a grid; wrong ones are noted under their place and left out."""
    claims: list[Claim] = []
    ids: set[str] = set()
    for index, entry in enumerate(written):
        if problems.full:
            break
        place = f"{path}[{index}]"
        if not isinstance(entry, Mapping):
            problems.add(place, "must be a mapping", received=entry)
            continue
        try:
            claims.append(Claim.model_validate(without_most(entry, _KNOWN)))
        except ValidationError as error:
            _note(error, place, problems)
            continue
        if claims[-1].id in ids:
            problems.add(f"{place}.id", "another claim has this id", received=claims[-1].id)
        ids.add(claims[-1].id)
    return claims


def parse_claims(written: Sequence[Any]) -> list[Claim]:
    """The claims of a request.

    Raises:
        InvalidClaims: with one entry per wrong field.
    """
    problems = Problems()
    claims = read_claims(written, problems)
    problems.raise_as(InvalidClaims)
    return claims


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
        elif part not in ("rate", "log_log_slope", "boundary") and not set(part) & set("[(-"):
            place += f".{part}"
    return place
