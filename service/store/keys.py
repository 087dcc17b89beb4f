"""Conditions on many keys at once, sent as one parameter: both databases limit how many a statement may have."""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import BigInteger, Connection, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import ColumnElement


def among(connection: Connection, column: ColumnElement[Any], keys: Collection[int]) -> ColumnElement[bool]:
    """Whether a column holds one of these keys."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(keys), ARRAY(BigInteger)))
    each = func.json_each(json.dumps(list(keys))).table_valued("value")
    return column.in_(select(each.c.value))
