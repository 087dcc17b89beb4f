"""Reads many rows of numbers as NumPy columns, the fast way of each database.

PostgreSQL: COPY TO STDOUT in its binary format. NULL is read as NaN, which the store never holds, so every row has the
same width and NumPy takes the stream as one array. SQLite: the driver's tuples, in chunks.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy import Connection, Float, Select, func, literal
from sqlalchemy.sql import ColumnElement

Query = Select[*tuple[Any, ...]]
_HEADER_BYTES, _TRAILER_BYTES = 19, 2
_CHUNK_ROWS = 50_000


def read_columns(connection: Connection, query: Query, types: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The rows of a query as columns, NULL as NaN.

    Args:
        connection: a reading transaction.
        query: selects columns of numbers, none of which is NULL unless its type is f8.
        types: column -> NumPy type, in the query's order: i8, i2 or f8.
    """
    if connection.dialect.name == "postgresql":
        return _read_copy(connection, query, types)
    return _read_tuples(connection, query, types)


def _read_tuples(connection: Connection, query: Query, types: Mapping[str, str]) -> dict[str, np.ndarray]:
    cursor: Any = connection.execute(query).cursor
    parts: dict[str, list[np.ndarray]] = {name: [] for name in types}
    while rows := cursor.fetchmany(_CHUNK_ROWS):
        for (name, kind), column in zip(types.items(), zip(*rows, strict=True), strict=True):
            parts[name].append(np.array(column, dtype=kind))
    return {name: np.concatenate(arrays) if arrays else np.empty(0, types[name]) for name, arrays in parts.items()}


def _read_copy(connection: Connection, query: Query, types: Mapping[str, str]) -> dict[str, np.ndarray]:
    columns = [_never_null(column, kind) for column, kind in zip(query.selected_columns, types.values(), strict=True)]
    compiled = query.with_only_columns(*columns, maintain_column_froms=True).compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    driver: Any = connection.connection.driver_connection
    statement = f"COPY ({compiled}) TO STDOUT (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(statement, compiled.params) as copy:
        stream = b"".join(copy)
    fields: list[Any] = [("fields", ">i2")]
    for name, kind in types.items():
        fields += [(f"length of {name}", ">i4"), (name, f">{kind}")]
    body = memoryview(stream)[_HEADER_BYTES:-_TRAILER_BYTES]
    rows: Any = np.frombuffer(body, np.dtype(fields))
    return {name: rows[name].astype(kind) for name, kind in types.items()}


def _never_null(column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
    return func.coalesce(column, literal(float("nan"), Float(53))) if kind == "f8" else column
