"""Tables of numbers in Parquet: sizes are known from footer and page headers before anything is unpacked."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from service.datasets.limits import MAX_COLUMNS, check_count, check_numbers, shown
from service.datasets.parquet_pages import unpacked_bytes
from service.errors import InvalidDataset, TooLarge

_MAX_CHUNKS: Final = 2**18
_BYTES_PER_NUMBER: Final = 16
"""A number takes eight bytes, and a dictionary or levels may come on top."""


class ParquetTable:
    """A Parquet file whose footer has been read.

    Raises:
        TooLarge: too many columns.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._file = pq.ParquetFile(pa.BufferReader(content))
        form = self._file.metadata
        check_count(form.num_columns, MAX_COLUMNS, "columns")
        check_count(form.num_columns * form.num_row_groups, _MAX_CHUNKS, "chunks of columns")
        self._groups = [form.row_group(one) for one in range(form.num_row_groups)]
        self.names = list(self._file.schema_arrow.names)
        """Of the columns, in order."""
        self.rows = max(form.num_rows, sum(one.num_rows for one in self._groups))
        """That the footer tells of, by whichever of its numbers is larger."""

    def read(self, places: Sequence[int], max_numbers: int) -> np.ndarray:
        """The columns at these places, (rows, columns) in float64; NaN where a value is null.

        Raises:
            InvalidDataset: a column holds something else than numbers.
            TooLarge: its pages unpack to more than so many numbers take.
        """
        chosen = [self.names[place] for place in places]
        check_numbers({"the table": (self.rows, len(chosen))}, max_numbers)
        for place in places:
            kind = self._file.schema_arrow.field(place).type
            if not _is_number(kind):
                raise InvalidDataset(f"column {shown(self.names[place])} holds {str(kind)[:50]}, needed are numbers")
        schema = self._file.schema
        leaves = {schema.column(leaf).path: leaf for leaf in range(len(schema))}
        if len(leaves) < len(schema):
            raise InvalidDataset("the Parquet file has two columns of one path: give every column a name of its own")
        unpacked = sum(self._unpacked(leaves[name]) for name in chosen)
        if unpacked > max(max_numbers, 2**16) * _BYTES_PER_NUMBER:
            raise TooLarge(f"the columns unpack to {unpacked:,} bytes, more than {max_numbers:,} numbers take")
        table = self._file.read(columns=[*dict.fromkeys(chosen)])
        return np.column_stack([_numbers(table[name]) for name in chosen])

    def _unpacked(self, leaf: int) -> int:
        """Bytes that a column unpacks to, by the footer or by its pages, whichever says more."""
        told = walked = 0
        for group in self._groups:
            chunk = group.column(leaf)
            start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
            told += chunk.total_uncompressed_size
            walked += unpacked_bytes(self._content, start, start + chunk.total_compressed_size)
        return max(told, walked)


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(), dtype=np.float64)
