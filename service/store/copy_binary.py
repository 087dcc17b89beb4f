"""PostgreSQL's binary COPY format, built by NumPy: whole columns at once, no Python object per value.

Format: a signature, then per row a field count and per field a length (-1 for NULL) and big-endian bytes.
Source: PostgreSQL manual, COPY, "Binary Format".
"""

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
from sqlalchemy import Connection

BIGINT: Final = ">i8"
SMALLINT: Final = ">i2"
DOUBLE: Final = ">f8"
BOOLEAN: Final = "?"
TEXT: Final = "S"
"""ASCII, all of one length."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)


def copy_rows(
    connection: Connection, table: str, columns: Sequence[str], arrays: Sequence[np.ndarray], types: Sequence[str]
) -> None:
    """COPY equally long arrays into columns of a table, inside the connection's transaction; NaN and inf are NULL."""
    if len(arrays[0]) == 0:
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.write(encoded(arrays, types))


def encoded(arrays: Sequence[np.ndarray], types: Sequence[str]) -> bytes:
    """The COPY stream of equally long arrays."""
    rows = len(arrays[0])
    parts: list[np.ndarray] = [np.broadcast_to(_bytes(np.array([len(arrays)], ">i2")), (rows, 2))]
    kept: list[np.ndarray] = [np.ones((rows, 2), bool)]
    for array, type_ in zip(arrays, types, strict=True):
        if type_ == TEXT:
            array = array.astype(TEXT)  # noqa: PLW2901 - the column as it is sent
        width = array.itemsize if type_ == TEXT else np.dtype(type_).itemsize
        present = np.full(rows, True) if type_ == TEXT else np.isfinite(array)
        lengths = np.where(present, width, -1).astype(">i4")
        payload = array if type_ == TEXT else np.where(present, array, 0).astype(type_)
        parts += [_bytes(lengths), _bytes(payload)]
        kept += [np.ones((rows, 4), bool), np.broadcast_to(present[:, None], (rows, width))]
    body = np.concatenate(parts, axis=1)[np.concatenate(kept, axis=1)]
    return _HEADER + body.tobytes() + _TRAILER


def _bytes(values: np.ndarray) -> np.ndarray:
    """(rows, itemsize) bytes of each value."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
