"""What request and answer bodies have in common, pages of lists, and problems."""

from itertools import islice
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.errors import InvalidRequest
from service.grid.document import check_plain
from service.grid.problems import MANY_KEYS, Problems

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


class Request(BaseModel):
    """Base of every small JSON request: unknown fields are refused, and true or "3" where a number is asked for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, written: Any) -> Any:
        """What no database can hold is refused here as it is in grids."""
        problems = Problems()
        check_plain(written, problems)
        problems.raise_as(InvalidRequest)
        if isinstance(written, dict) and len(written) > MANY_KEYS:
            # each key that nobody knows is an error, of which some tell enough
            unknown = (key for key in written if key not in cls.model_fields)
            kept = [*(key for key in cls.model_fields if key in written), *islice(unknown, MANY_KEYS)]
            return {key: written[key] for key in kept}
        return written
