"""Upgrades the database to the schema this version knows, and refuses one it does not.

Alembic is imported where a schema is changed, not by every process that looks at one as it starts.
"""

import functools
import importlib.resources
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from service.errors import Conflict, SchemaMismatch
from service.store import incarnation
from service.store.postgresql_engine import SETTINGS
from service.store.session import Store

if TYPE_CHECKING:
    from alembic.config import Config

_UPGRADE_LOCK = 715_225_741


def upgrade(store: Store) -> str:
    """Bring the schema up to date and answer its revision; safe when several processes start at once.

    Raises:
        SchemaMismatch: the database was written by a newer version.
    """
    from alembic import command  # noqa: PLC0415

    with store.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            # another process that upgrades is waited for, however long it takes; a table that is in use is not
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            connection.execute(text(f"SET LOCAL lock_timeout = '{SETTINGS['lock_timeout']}'"))
        refuse_unknown(revision(connection))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        incarnation.begin_if_none(connection)
    return head()


def downgrade(store: Store) -> str:
    """Undo the last step of the schema, before an older version of the service is started; answers the revision.

    Raises:
        Conflict: there is no older schema to go back to.
    """
    with store.read() as connection:
        current = revision(connection)
    refuse_unknown(current)
    if (current or check(store)) == _known()[0]:
        raise Conflict(
            f"{current} is the first schema, and undoing it would drop every table: restore a backup instead"
        )
    with store.write() as connection:
        _downgrade(connection)
    with store.read() as connection:
        return str(revision(connection))


def _downgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415

    config = _config()
    config.attributes["connection"] = connection
    command.downgrade(config, "-1")


def check(store: Store) -> str:
    """The schema's revision.

    Raises:
        SchemaMismatch: it is not the one this version knows; the message says what to do.
    """
    with store.read() as connection:
        current = revision(connection)
    refuse_unknown(current)
    if current != head():
        raise SchemaMismatch(
            f"the database has schema {current or 'none'}, this version needs {head()}: run `nfa db upgrade`"
        )
    return head()


def head() -> str:
    """The newest revision this version knows."""
    return _known()[-1]


@functools.cache
def _known() -> tuple[str, ...]:
    """Every revision this version knows, oldest first: the number that each file of migrations begins with."""
    files = importlib.resources.files("migrations").joinpath("versions").iterdir()
    return tuple(sorted(number for file in files if (number := file.name.partition("_")[0]).isdecimal()))


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "migrations:")
    return config


def revision(connection: Connection) -> str | None:
    """The database's revision, whether known or not; None without one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def refuse_unknown(current: str | None) -> None:
    """Raises SchemaMismatch for a revision that this version has no migration to."""
    if current is not None and current not in _known():
        raise SchemaMismatch(
            f"the database has schema {current}, which is newer than this version knows ({head()}): "
            "upgrade the service, or restore a backup made before the database was upgraded"
        )
