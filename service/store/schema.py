"""Upgrades the database to the schema this version knows, and refuses one it does not."""

import functools

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from service.errors import Conflict, SchemaMismatch
from service.store import incarnation
from service.store.postgresql_engine import SETTINGS
from service.store.session import Store

_UPGRADE_LOCK = 715_225_741


def upgrade(store: Store) -> str:
    """Bring the schema up to date and answer its revision; safe when several processes start at once.

    Raises:
        SchemaMismatch: the database was written by a newer version.
    """
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
    script = ScriptDirectory.from_config(_config()).get_revision(current or check(store))
    if script.down_revision is None:
        raise Conflict(
            f"{current} is the first schema, and undoing it would drop every table: restore a backup instead"
        )
    with store.write() as connection:
        _downgrade(connection)
    with store.read() as connection:
        return str(revision(connection))


def _downgrade(connection: Connection) -> None:
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


@functools.cache
def head() -> str:
    """The newest revision this version knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    return config


def revision(connection: Connection) -> str | None:
    """The database's revision, whether known or not; None without one."""
    return MigrationContext.configure(connection).get_current_revision()


def refuse_unknown(current: str | None) -> None:
    """Raises SchemaMismatch for a revision that this version has no migration to."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the database has schema {current}, which is newer than this version knows ({head()}): "
            "upgrade the service, or restore a backup made before the database was upgraded"
        )
