"""Many rows at once, the fast way of each database, inside the caller's transaction.

SQLite takes many rows a statement; PostgreSQL takes COPY in its binary format, made by NumPy, on the transaction's own
connection. NaN and infinity become NULL on both.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, Table, insert

from service.store.copy_binary import copy_rows

_ROWS: Final = 100
"""Of one SQLite statement: the driver's work for a statement is more than the database's for a row."""


def insert_columns(
    connection: Connection, table: Table, values: Mapping[str, np.ndarray], types: Sequence[str]
) -> None:
    """Insert equally long arrays as columns, the fast way of each database; NaN and infinity become NULL.

    Args:
        connection: a transaction.
        table: where to.
        values: by column.
        types: of the columns in PostgreSQL's binary COPY, see copy_binary.py; text is ASCII and all of one length.
    """
    if connection.dialect.name == "postgresql":
        copy_rows(connection, table.name, list(values), list(values.values()), types)
        return
    statement: Any = insert(table).compile(dialect=connection.dialect, column_keys=list(values))
    # plain tuples; the driver stores NaN as NULL, infinity is made NaN first
    arrays = (values[name] for name in statement.positiontup)
    columns = [
        np.where(np.isinf(array), np.nan, array).tolist() if array.dtype.kind == "f" else array.tolist()
        for array in arrays
    ]
    rows = list(zip(*columns, strict=True))
    one, places = str(statement), f", ({', '.join('?' * len(columns))})"
    whole = len(rows) - len(rows) % _ROWS
    if whole:
        many = [_flat(rows[first : first + _ROWS]) for first in range(0, whole, _ROWS)]
        connection.exec_driver_sql(one + places * (_ROWS - 1), many)
    if rest := rows[whole:]:
        connection.exec_driver_sql(one + places * (len(rest) - 1), _flat(rest))


def _flat(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(itertools.chain.from_iterable(rows))
