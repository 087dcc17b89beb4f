"""Column types that mean the same on SQLite (STRICT tables) and PostgreSQL."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Dialect, Double, Integer, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.sqlite import REAL
from sqlalchemy.types import TypeDecorator, TypeEngine

Key = BigInteger().with_variant(Integer(), "sqlite")
Real = Double().with_variant(REAL(), "sqlite")
Small = SmallInteger().with_variant(Integer(), "sqlite")
Flag = Boolean().with_variant(Integer(), "sqlite")


class Json(TypeDecorator[Any]):
    """A JSON document: JSONB on PostgreSQL, text on SQLite. NaN and infinity are refused on both."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """JSONB where there is one."""
        return dialect.type_descriptor(JSONB() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Text for SQLite; PostgreSQL's driver writes its own."""
        if value is None or dialect.name == "postgresql":
            return value
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The document."""
        return json.loads(value) if isinstance(value, str) and dialect.name != "postgresql" else value


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC: TIMESTAMPTZ on PostgreSQL, ISO 8601 text of fixed width on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """TIMESTAMPTZ where there is one."""
        return dialect.type_descriptor(DateTime(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Text that sorts as the times do."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """The time, aware."""
        return datetime.fromisoformat(value) if isinstance(value, str) else value
