"""Conditions on many keys at once, sent as one parameter: both databases limit how many a statement may have."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Text, any_, cast, column, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import UserDefinedType

from service.store.column_types import Key


class _Keys(UserDefinedType[Collection[int]]):
    """An array of PostgreSQL, written by us: the driver looks at each key, and takes ten times as long."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "BIGINT[]"

    def bind_processor(self, dialect: Any) -> Any:
        return _array

    def literal_processor(self, dialect: Any) -> Any:
        return lambda keys: f"'{_array(keys)}'::BIGINT[]"


def _array(keys: Collection[int]) -> str:
    return f"{{{','.join(map(str, keys))}}}"


def among(connection: Connection, column: ColumnElement[Any], keys: Collection[int]) -> ColumnElement[bool]:
    """Whether a column holds one of these keys."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(keys, _Keys()))
    return column.in_(listed(connection, keys))


def among_words(connection: Connection, column: ColumnElement[Any], words: Collection[str]) -> ColumnElement[bool]:
    """Whether a column holds one of these words."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(words), ARRAY(Text)))
    each = func.json_each(json.dumps(list(words))).table_valued("value")
    return column.in_(select(each.c.value))


def listed(connection: Connection, keys: Collection[int]) -> Select[Any]:
    """A SELECT of these keys."""
    if connection.dialect.name == "postgresql":
        return select(func.unnest(literal(keys, _Keys())).label("key"))
    each = func.json_each(json.dumps(list(keys))).table_valued("value")
    return select(each.c.value)


def numbered(connection: Connection, pairs: Sequence[tuple[int, int]]) -> Any:
    """A subquery with the columns `key` and `number`, a row per pair; to join."""
    if connection.dialect.name == "postgresql":
        keys, numbers = ([pair[place] for pair in pairs] for place in (0, 1))
        arrays = (literal(keys, _Keys()), literal(numbers, _Keys()))
        return func.unnest(*arrays).table_valued(column("key", Key), column("number", Key)).render_derived()
    each = func.json_each(json.dumps([list(pair) for pair in pairs])).table_valued("value")
    key, number = (func.json_extract(each.c.value, path) for path in ("$[0]", "$[1]"))
    # SQLite makes an index for the join only where the key has the kind of what it is compared to; without one it reads
    # every pair for every row
    return select(cast(key, Key).label("key"), number.label("number")).cte()
