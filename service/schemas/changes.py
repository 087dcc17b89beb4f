"""What changes an experiment: the bodies of its calls."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from service.grid.outline import Seed, Tag
from service.grid.remeasurement import Remeasuring, read_remeasuring
from service.schemas.bodies import Request


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
    sample: int | None = Field(
        None, ge=1, le=100_000, description="Sampled points, more than it has; those that it has stay."
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Train longer: every point for so many steps too, more than it has, from where it ended if its "
        "state is kept (training.keep).",
    )


class Measuring(Remeasuring, Request):
    """What to measure of weights that were kept."""

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, written: Any) -> Any:
        """What is wrong is told as in grids, with what is allowed."""
        read_remeasuring(written)
        return written


class NewClaims(Request):
    """Statements to add to an experiment, as under a grid's `claims`."""

    claims: list[dict[str, Any]] = Field(min_length=1, max_length=200)


class Changes(Request):
    """What to change of an experiment; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=200)
    notes: str | None = Field(None, max_length=20_000)
    tags: list[Tag] | None = Field(None, max_length=50)
    starred: bool | None = Field(None, description="Mark it as worth coming back to.")
    priority: int | None = Field(None, ge=-1_000_000, le=1_000_000, description="Higher runs first.")


class NewView(Request):
    """A view of an experiment's page to save; one of the same name is replaced."""

    name: str = Field(min_length=1, max_length=100)
    parameters: dict[str, Annotated[str, Field(max_length=4_000)]] = Field(
        max_length=60, description="Of the page's address: figure, metric, where, order .."
    )
