"""The whole sweep as one stream, in constant memory."""

import io
import itertools
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from service.api.deps import StoreDep
from service.api.etags import etag_of, unchanged
from service.api.formats import FORMAT_RESPONSES, MEDIA, ExportFormat, file_headers
from service.store import sweeps
from service.store.sweeps import Sweep
from service.store.versions import version_of

router = APIRouter(prefix="/experiments/{experiment_id}", tags=["results"])
_TEXT_ROWS: Final = 10_000
"""Rows written as text at a time: text is several times larger than the numbers."""


@router.get(
    "/measurements", summary="The whole sweep, streamed", response_class=StreamingResponse, responses=FORMAT_RESPONSES
)
def export(
    experiment_id: str,
    store: StoreDep,
    request: Request,
    form: ExportFormat,
    level: Annotated[
        Literal["layer", "network"],
        Query(description="layer: a row per trial, step and layer; network: a row per trial and step."),
    ] = "layer",
) -> Response:
    """Every measurement of every trial: NDJSON, CSV, an Arrow stream or Parquet, by Accept or `format`.

    Columns: trial_id, seed, the axes, step, time, layer, network metrics, layer metrics; ordered by trial, step and
    layer. An answer that breaks off is incomplete: it lacks HTTP's end mark, and Parquet its footer.
    """
    headers = etag_of(request, form, version_of(store, [experiment_id]))
    if (same := unchanged(request, headers)) is not None:
        return same
    sweep = sweeps.open_sweep(store, experiment_id, level)
    stream = WRITERS[form](sweep, _begun(sweeps.pieces(store, sweep)))
    headers |= file_headers(form, f"{experiment_id}-measurements")
    return StreamingResponse(stream, media_type=MEDIA[form], headers=headers)


def _begun(pieces: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same, the first of which has been read: what goes wrong at once is answered, and not broken off."""
    first = next(pieces, None)
    return pieces if first is None else itertools.chain([first], pieces)


class Sink(io.RawIOBase):
    """A file that is emptied while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Keep the bytes until they are taken."""
        part = bytes(data)
        self._parts.append(part)
        self._written += len(part)
        return len(part)

    def tell(self) -> int:
        """How much was ever written."""
        return self._written

    def take(self) -> bytes:
        """What was written since the last call."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _csv(sweep: Sweep, pieces: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    yield pl.DataFrame(schema=sweep.schema).write_csv().encode()
    for piece in pieces:
        for part in piece.iter_slices(_TEXT_ROWS):
            yield part.write_csv(include_header=False).encode()


def _ndjson(_: Sweep, pieces: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    for piece in pieces:
        for part in piece.iter_slices(_TEXT_ROWS):
            yield part.write_ndjson().encode()


def _arrow(sweep: Sweep, pieces: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    sink = Sink()
    with pa.ipc.new_stream(sink, as_arrow(pl.DataFrame(schema=sweep.schema)).schema) as writer:
        for piece in pieces:
            writer.write_table(as_arrow(piece))
            yield sink.take()
    yield sink.take()


def _parquet(sweep: Sweep, pieces: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    """A row group per piece; what repeats is kept in dictionaries, measured numbers as they are.

    Snappy makes files a fifth larger than zstd and takes a quarter of its time.
    """
    sink = Sink()
    empty = as_arrow(pl.DataFrame(schema=sweep.schema))
    repeating = ["trial_id", "seed", *sweep.axes, "step", *(["layer"] if sweep.level == "layer" else [])]
    repeating += [name for name, kind in sweep.schema.items() if kind == pl.String and name not in repeating]
    with pq.ParquetWriter(sink, empty.schema, compression="snappy", use_dictionary=repeating) as out:
        for piece in pieces:
            out.write_table(as_arrow(piece))
            yield sink.take()
    yield sink.take()


def as_arrow(frame: pl.DataFrame) -> pa.Table:
    """A table for Arrow's writers, of types that every reader knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


WRITERS: Final[dict[str, Callable[[Sweep, Iterator[pl.DataFrame]], Iterator[bytes]]]] = {
    "csv": _csv,
    "ndjson": _ndjson,
    "arrow": _arrow,
    "parquet": _parquet,
}
