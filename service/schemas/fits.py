"""What was found: boundaries with brackets, intervals of seeds, fitted slopes and rates; and the rounds it took."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.schemas.bodies import Body


class BracketBody(Body):
    """Two neighbouring values with different verdicts."""

    low: float
    high: float
    value: float = Field(description="The middle of the two, on the axis' scale.")
    holds_below: bool = Field(description="Whether the statement holds at `low`.")
    is_found: bool = Field(description="It is within the tolerance.")


class CellBody(Body):
    """A rectangle of two axes that the boundary goes through."""

    low: tuple[float, float]
    high: tuple[float, float]


class BoundaryBody(Body):
    """The boundary of one statement at one place of the axes that are not followed."""

    refine: str = Field(description="Place of the search in the grid, as refine[0].")
    statement: str = Field(description="Its filter, or the id of its claim.")
    axes: list[str] = Field(description="The one or two axes that are followed.")
    group: dict[str, Any] = Field(description="Path -> value of the others.")
    brackets: list[BracketBody] = Field(description="Along one axis: every change of the verdict.")
    cells: list[CellBody] = Field(description="In a plane: the smallest cells that the boundary crosses.")
    is_monotone: bool | None = Field(description="Along one axis: whether the verdict changes at most once.")
    is_found: bool = Field(description="Nothing is wider than the tolerance.")
    tried: int = Field(description="Values, or places, with a verdict.")
    seen: list[list[float | bool | None]] = Field(description="Value, or both values, and the verdict there.")
    undefined: list[Any] = Field(description="Values, or places, at which no trial could tell.")
    next: list[Any] = Field([], description="Values, or places, tried now; when all trials have ended, those to come.")


class EstimateBody(Body):
    """The number of one point that seeds are added for, with an interval that is valid whenever one stops."""

    group: dict[str, Any]
    estimate: float | None
    low: float | None = Field(description="null: too few seeds to tell.")
    high: float | None
    seeds: int
    is_certain: bool = Field(description="Half its width is at most what was asked for.")


class FitBody(Body):
    """What is fitted behind a claim: a slope or a rate with its 95 % interval, null where too few points are there for
    one; or a boundary with the values tried on both sides of it."""

    claim: str
    kind: str
    group: dict[str, Any]
    value: float | None
    low: float | None
    high: float | None
    points: int
    x: str | None = Field(None, description="Of a power law: the setting along which it holds.")
    metric: str | None = Field(None, description="Of a power law: what it is of.")
    transform: Literal["x", "1-x"] | None = Field(None, description="Of a power law: of the metric or one minus it.")
    centre: tuple[float, float] | None = Field(None, description="Geometric means of its points; its line goes there.")
    seen: list[tuple[float, float]] = Field([], description="Points of a power law; of more than 500 every n-th.")


class Fits(Body):
    """All that an experiment has found so far."""

    searching: bool = Field(description="A further round may come.")
    rounds: int = Field(description="Rounds that were added to the grid.")
    stopped: dict[str, str] = Field(description="Place of a search -> why it ended before it was done, or waits.")
    boundaries: list[BoundaryBody]
    estimates: list[EstimateBody]
    fits: list[FitBody]


class AdditionBody(Body):
    """A point, and the seeds that were added to it."""

    point: dict[str, Any]
    seeds: list[int]


class RoundBody(Body):
    """What was added at once."""

    number: int = Field(description="From 1; the grid itself came before.")
    created_at: datetime
    added: dict[str, int] = Field(description="Place of a search, or `seeds` -> trials.")
    additions: list[AdditionBody]
