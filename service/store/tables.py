"""What all tables have in common."""

from typing import Any

from sqlalchemy import MetaData, Table

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def table(name: str, *parts: Any, **options: Any) -> Table:
    """A table of `metadata`, whose columns hold what they say on SQLite too."""
    return Table(name, metadata, *parts, sqlite_strict=True, **options)
