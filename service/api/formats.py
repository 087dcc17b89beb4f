"""In which format a table is answered: by `?format=`, else by the Accept header; and how it is written."""

import io
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import polars as pl
from fastapi import Depends, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from service.errors import InvalidRequest, NotAcceptable
from service.grid.problems import Problems

MEDIA: Final = {
    "json": "application/json",
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
TABLE_FORMATS: Final = tuple(MEDIA)
EXPORT_FORMATS: Final = ("ndjson", "csv", "arrow", "parquet")
"""Formats that are not worth compressing on the way."""


def chosen_format(request: Request, named: str | None, known: Sequence[str]) -> str:
    """The format of an answer; the first known one where the caller takes anything.

    Raises:
        InvalidRequest: `format` names none of them.
        NotAcceptable: Accept lists none of them.
    """
    if named is not None:
        problems = Problems()
        if named not in known:
            problems.unknown("format", "format", named, known)
        problems.raise_as(InvalidRequest)
        return named
    accept = request.headers.get("accept", "*/*")
    for media in _preferred(accept):
        for name in known:
            kind = MEDIA[name].partition("/")[0]
            if media in (MEDIA[name], "*/*", f"{kind}/*"):
                return name
    allowed = ", ".join(MEDIA[name] for name in known)
    raise NotAcceptable(f"Accept: received {accept[:200]!r}; this call answers in {allowed}, also by ?format=")


def _preferred(accept: str) -> list[str]:
    """Media types of an Accept header, most wanted first, without those refused by q=0."""
    weighed: list[tuple[float, str]] = []
    for part in accept.split(",")[:50]:
        media, *parameters = (word.strip() for word in part.split(";"))
        weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        weighed.append((float(weight) if weight.replace(".", "", 1).isdigit() else 0.0, media.lower()))
    return [media for weight, media in sorted(weighed, key=lambda one: -one[0]) if weight > 0]


FormatName = Annotated[
    str | None, Query(alias="format", max_length=20, description=f"{', '.join(TABLE_FORMATS)}; else by Accept.")
]


def _table_format(request: Request, named: FormatName = None) -> str:
    return chosen_format(request, named, TABLE_FORMATS)


def _export_format(request: Request, named: FormatName = None) -> str:
    return chosen_format(request, named, EXPORT_FORMATS)


TableFormat = Annotated[str, Depends(_table_format)]
ExportFormat = Annotated[str, Depends(_export_format)]


def json_answer(answer: Any, headers: dict[str, str] | None = None) -> Response:
    """An answer of our own making as JSON, not validated again; numbers that are not finite are null."""
    text = to_json(answer, inf_nan_mode="null")
    return Response(text, media_type=MEDIA["json"], headers={"Vary": "Accept"} | (headers or {}))


def table_answer(
    form: str, answer: Any, table: Callable[[], pl.DataFrame], name: str, headers: dict[str, str]
) -> Response:
    """An answer as JSON, or as the table that it is.

    Args:
        form: a name out of MEDIA.
        answer: the JSON form; numbers that are not finite are null.
        table: makes the table.
        name: of the file that a browser saves.
        headers: further ones.
    """
    if form == "json":
        return json_answer(answer, headers)
    return Response(encoded(table(), form), media_type=MEDIA[form], headers=headers | file_headers(form, name))


def file_headers(form: str, name: str) -> dict[str, str]:
    """Headers of an answer saved as a file."""
    return {"Content-Disposition": f'attachment; filename="{name}.{form}"', "Vary": "Accept"}


def encoded(table: pl.DataFrame, form: str) -> bytes:
    """A whole table in one format."""
    sink = io.BytesIO()
    match form:
        case "csv":
            table.write_csv(sink)
        case "ndjson":
            table.write_ndjson(sink)
        case "arrow":
            table.write_ipc_stream(sink, compat_level=pl.CompatLevel.oldest())
        case "parquet":
            table.write_parquet(sink)
    return sink.getvalue()


FORMAT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {media: {"schema": {"type": "string", "format": "binary"}} for media in list(MEDIA.values())[1:]}},
    304: {"description": "Not changed since the ETag given under If-None-Match"},
    406: {"description": "None of the formats under Accept"},
}
"""Documented on every route that answers a table."""
