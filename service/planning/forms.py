"""What a grid asks to be found, as it is written: `refine` entries and `seeds: {until: ..}`. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from service.errors import InvalidFilter
from service.grid.network_settings import MAX_LAYER
from service.grid.outline import FEWEST_SEEDS
from service.grid.problems import Problems, deepest, without_most
from service.grid.trial_settings import LayerName, MetricId
from service.questions import filters
from service.questions.claim_forms import ConditionText, Path
from service.questions.reductions import parse_reduction

MAX_SEARCHES: Final = 64
MAX_ROUNDS: Final = 100
MAX_ADDED: Final = 100_000


def _check_where(text: str) -> str:
    try:
        tree = filters.parse(text)
    except InvalidFilter as error:
        raise ValueError(str(error)) from error
    if not filters.paths(tree):
        raise ValueError('is true everywhere: name what turns from true to false, as in "final.alignment >= 0.999"')
    return text


def _check_reduction(text: str) -> str:
    parse_reduction(text)
    return text


def _check_axis(axis: Any) -> Any:
    if isinstance(axis, str) or (isinstance(axis, list) and len(axis) == 2 and all(isinstance(p, str) for p in axis)):
        return axis
    raise ValueError("must be one axis of the grid, or a list of two")


def _check_tolerance(size: Any) -> Any:
    if isinstance(size, Mapping) or (isinstance(size, int | float) and not isinstance(size, bool)):
        return size
    raise ValueError("must be a share such as 0.01, or {absolute: x} in units of the axis")


def _is_word(number: Any) -> str:
    return "auto" if isinstance(number, str) else "count"


def _is_absolute(size: Any) -> str:
    return "absolute" if isinstance(size, Mapping | Absolute) else "share"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


Form = TypeVar("Form", bound=_Part)


class Absolute(_Part):
    """A tolerance in units of the axis."""

    absolute: float = Field(gt=0)


class Refine(_Part):
    """A statement whose boundary along one axis, or through the plane of two, is to be found to a tolerance."""

    axis: Annotated[Any, AfterValidator(_check_axis)]
    claim: str | None = Field(None, max_length=100)
    where: Annotated[str, AfterValidator(_check_where)] | None = Field(None, max_length=filters.MAX_LENGTH)
    share: float = Field(0.5, gt=0, le=1)
    per: list[Path] | None = Field(None, max_length=16)
    tolerance: Annotated[
        Annotated[Annotated[float, Field(gt=0)], Tag("share")] | Annotated[Absolute, Tag("absolute")],
        Discriminator(_is_absolute),
        BeforeValidator(_check_tolerance),
    ] = 0.01
    scale: Literal["linear", "log"] | None = None
    halvings: Annotated[
        Annotated[int, Field(ge=1, le=6), Tag("count")] | Annotated[Literal["auto"], Tag("auto")],
        Discriminator(_is_word),
    ] = 1
    rounds: int = Field(30, ge=1, le=MAX_ROUNDS)
    at_most: int = Field(10_000, ge=1, le=MAX_ADDED)

    @model_validator(mode="after")
    def _one_statement(self) -> Self:
        if (self.claim is None) == (self.where is None):
            raise ValueError("a refine has one of claim and where, the statement whose boundary is looked for")
        return self

    @property
    def axes(self) -> tuple[str, ...]:
        """The one or two axes."""
        return (self.axis,) if isinstance(self.axis, str) else tuple(self.axis)


class Until(_Part):
    """The number whose interval is to be narrow enough."""

    metric: MetricId
    layer: Annotated[int, Field(ge=1, le=MAX_LAYER)] | LayerName = 1
    reduce: Annotated[str, Field(max_length=100), AfterValidator(_check_reduction)] = "final"
    agg: Literal["mean", "share"] = "mean"
    condition: ConditionText | None = Field(None, alias="is")
    ci95: float = Field(gt=0)

    @model_validator(mode="after")
    def _share_of_what(self) -> Self:
        if (self.agg == "share") != (self.condition is not None):
            raise ValueError('agg: share and is: "OP number" belong together: the share of trials that satisfy it')
        return self


class SeedsUntil(_Part):
    """Seeds that are added until the interval is narrow enough."""

    until: Until
    at_least: int = Field(FEWEST_SEEDS, ge=2, le=10_000)
    at_most: int = Field(200, ge=2, le=10_000)

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} is more than at_most {self.at_most}")
        return self


def read_refines(written: Any, problems: Problems) -> list[tuple[str, Refine]]:
    """Place and form of every `refine` entry; one may stand without a list. Wrong ones are noted and left out."""
    entries = written if isinstance(written, list) else [written] if written else []
    found = []
    if len(entries) > MAX_SEARCHES:
        problems.add("refine", "too many entries", received=len(entries), allowed=f"at most {MAX_SEARCHES}")
        return []
    for index, entry in enumerate(entries):
        place = f"refine[{index}]" if isinstance(written, list) else "refine"
        form = _read(Refine, entry, place, problems)
        if form is not None:
            found.append((place, form))
    return found


def read_seeds_until(written: Any, problems: Problems) -> SeedsUntil | None:
    """The rule by which seeds are added, where `seeds` is a mapping."""
    return _read(SeedsUntil, written, "seeds", problems) if isinstance(written, Mapping) else None


def _read(model: type[Form], entry: Any, place: str, problems: Problems) -> Form | None:
    known = list(model.model_fields)
    if not isinstance(entry, Mapping):
        problems.add(place, "must be a mapping", received=entry, allowed=known)
        return None
    try:
        return model.model_validate(without_most(entry, tuple(known)))
    except ValidationError as error:
        found = [(_place(place, detail["loc"]), detail) for detail in error.errors(include_url=False)]
        for path, detail in deepest(found):
            inner = Until if path.startswith("seeds.until") else model
            allowed = [field.alias or name for name, field in inner.model_fields.items()]
            if detail["type"] == "extra_forbidden":
                problems.unknown(path, "key", str(detail["loc"][-1]), allowed)
            else:
                problems.add_pydantic(detail, path, allowed)
        return None


def _place(place: str, location: Sequence[int | str]) -> str:
    """Path of a pydantic location, without the marks of union branches."""
    for index, part in enumerate(location):
        if isinstance(part, int):
            place += f"[{part}]"
        # a union's branch stands after the field that it is of
        elif not (index == 1 and part in ("share", "absolute", "count", "auto")):
            place += f".{part}"
    return place
