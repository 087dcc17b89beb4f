"""How answers are packed on their way: zstd or gzip, whichever the reader knows first in this order."""

from typing import Final

from fastapi import FastAPI
from starlette_compress import CompressMiddleware, add_compress_type, remove_compress_type

_TEXT_TYPES: Final = ("application/problem+json", "application/x-ndjson", "text/csv")
"""Text that the middleware does not know by itself. Arrow and Parquet are no text: what is packed stays as it is."""


def add_compression(app: FastAPI) -> None:
    """Pack every text that the service answers with, and leave events alone: they are short, and wanted at once."""
    for one in _TEXT_TYPES:
        add_compress_type(one)
    remove_compress_type("text/event-stream")
    app.add_middleware(CompressMiddleware, minimum_size=1_000, zstd_level=3, gzip_level=4, brotli=False)
