"""Uploaded data sets."""

from datetime import datetime

from pydantic import Field

from service.schemas.bodies import Body


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
    tokens: int | None = Field(
        None, description="x may be tokens, whole numbers below this, as data.vocabulary says; null: it is not."
    )
    owner: str | None = Field(None, description="Who uploaded it first; null: kept before uploads had owners.")
    bytes: int | None = Field(None, description="What it counts for in its owner's uploads (NFA_MAX_UPLOADED_BYTES).")
    created_at: datetime
