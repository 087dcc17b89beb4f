"""Reads many rows of numbers as NumPy columns: each database packs a trial's rows into one value of bytes.

A Python object per number, or a call of the driver per row, costs more than the query. So PostgreSQL concatenates the
rows as it sends them, and SQLite appends their numbers to an array through an aggregate function that session.py adds.
A subquery per trial walks the primary key once, where grouping would have PostgreSQL sort wide rows on disk (measured
on 0.8 million rows of 12 numbers: 0.35 microseconds a row, against 1.0 grouped and 2 row by row).
NULL travels as infinity, which the store never holds, and is NaN here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import (
    Connection,
    Double,
    FromClause,
    LargeBinary,
    Select,
    cast,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.sql import ColumnElement

from service.errors import QuestionTooLarge
from service.store.keys import listed

PACK: Final = "nfa_pack"
"""The aggregate function on SQLite."""
_FIRST_TRIALS: Final = 256
_PIECE_BYTES: Final = 32 << 20
_NARROW: Final = 2
"""So few columns are grouped by trial on PostgreSQL: it does that in parallel, and nothing is sorted."""
_INFINITY: Final = {"sqlite": literal_column("9e999"), "postgresql": literal_column("'Infinity'::float8")}


def read_columns(
    connection: Connection,
    table: FromClause,
    trials: Select[Any],
    columns: Mapping[str, ColumnElement[Any]],
    condition: ColumnElement[bool] | None = None,
    most_rows: int | None = None,
) -> dict[str, np.ndarray]:
    """Columns of numbers of a table that has a `trial_id`, as float64, NULL as NaN; and `trial_id`, as int64.

    Args:
        connection: a reading transaction.
        table: measurements.
        trials: a SELECT of the keys of the trials to read.
        columns: what to read of it, by name.
        condition: which of their rows; all.
        most_rows: give up where there are more. They are read some trials at a time, as many as some 32 MiB are from.
    Returns:
        Equally long arrays. Rows of a trial stand together, in no particular order.
    Raises:
        QuestionTooLarge: there are more than `most_rows`.
    """
    if most_rows is None:
        return _read(connection, table, trials, columns, condition)
    keys = list(connection.scalars(trials.distinct()))
    parts, rows, at_once, start = [], 0, _FIRST_TRIALS, 0
    while start < len(keys) or not parts:
        some = keys[start : start + at_once]
        parts.append(_read(connection, table, listed(connection, some), columns, condition))
        start += at_once
        rows += len(parts[-1]["trial_id"])
        if rows > most_rows:
            raise too_many_rows(most_rows)
        a_trial = max(1, rows // max(1, min(start, len(keys))))
        at_once = max(1, _PIECE_BYTES // (8 * len(columns) * a_trial))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def too_many_rows(most_rows: int) -> QuestionTooLarge:
    """The refusal of a question about more rows than this."""
    return QuestionTooLarge(
        f"the question is about more than {most_rows:,} rows of measurements at a time: ask about fewer trials "
        "with `where`, or for smaller groups with `group_by`"
    )


def _read(
    connection: Connection,
    table: FromClause,
    trials: Select[Any],
    columns: Mapping[str, ColumnElement[Any]],
    condition: ColumnElement[bool] | None,
) -> dict[str, np.ndarray]:
    is_sqlite = connection.dialect.name == "sqlite"
    rows_of = packed(connection, list(columns.values()))
    met = true() if condition is None else condition
    if is_sqlite or len(columns) > _NARROW:
        each = trials.distinct().subquery()
        key = each.c[0]
        own = select(rows_of).select_from(table).where(table.c.trial_id == key, met)
        query = select(key, own.correlate(each).scalar_subquery()).select_from(each)
    else:
        own = select(table.c.trial_id, rows_of).where(table.c.trial_id.in_(trials), met)
        query = own.group_by(table.c.trial_id)
    found = [(number, part) for number, part in fetched(connection, query) if part]
    rows = unpacked(connection, b"".join(part for _, part in found), len(columns))
    lengths = [len(part) // (8 * _width(connection, len(columns))) for _, part in found]
    arrays = {"trial_id": np.repeat(np.array([number for number, _ in found], np.int64), lengths)}
    return arrays | {name: rows[:, place] for place, name in enumerate(columns)}


def packed(connection: Connection, columns: Sequence[ColumnElement[Any]]) -> Any:
    """An aggregate that packs numbers of rows into bytes, for `unpacked`."""
    numbers = [func.coalesce(column, _INFINITY[connection.dialect.name]) for column in columns]
    if connection.dialect.name == "sqlite":
        return getattr(func, PACK)(*numbers)
    return func.string_agg(_sent(numbers), literal(b"", LargeBinary))


def unpacked(connection: Connection, part: bytes, columns: int) -> np.ndarray:
    """(rows, columns) that were packed, in no particular order; NULL as NaN."""
    form = "<f8" if connection.dialect.name == "sqlite" else ">f8"
    rows = np.frombuffer(part, form).reshape(-1, _width(connection, columns))[:, :columns].astype(np.float64, order="F")
    rows[np.isinf(rows)] = np.nan
    return rows


def _width(connection: Connection, columns: int) -> int:
    """Numbers of a row as it is sent."""
    return columns if connection.dialect.name == "sqlite" else columns + columns % 2


def _sent(numbers: Sequence[ColumnElement[Any]]) -> Any:
    """Numbers as bytes on PostgreSQL, an even number of them: it sends a line segment's four, or a point's two, in one
    call, which takes half the time of a call for each."""
    values = [cast(number, Double) for number in numbers]
    values += [cast(literal(0), Double)] * (len(values) % 2)
    points = [func.point(*values[start : start + 2]) for start in range(0, len(values), 2)]
    pairs = [points[start : start + 2] for start in range(0, len(points), 2)]
    sent = [func.lseg_send(func.lseg(*pair)) if len(pair) == 2 else func.point_send(*pair) for pair in pairs]
    whole: Any = cast(sent[0], LargeBinary)
    for part in sent[1:]:
        whole = whole.op("||", return_type=LargeBinary())(cast(part, LargeBinary))
    return whole


def fetched(connection: Connection, query: Any) -> list[Any]:
    """The rows of a query; PostgreSQL's in its binary format, since text doubles the bytes."""
    if connection.dialect.name == "sqlite":
        return list(connection.execute(query))
    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    driver: Any = connection.connection.driver_connection
    with driver.cursor(binary=True) as cursor:
        return cursor.execute(str(compiled), compiled.params).fetchall()
