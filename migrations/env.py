"""Runs migrations on the connection it is given, or on NFA_DATABASE_URL when called as `alembic`."""

from alembic import context
from sqlalchemy import Connection

from service.settings import Settings
from service.store import measured_models, models  # noqa: F401 - the metadata has the tables of both
from service.store.partitions import is_modelled
from service.store.session import open_store
from service.store.tables import metadata


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True, include_name=is_modelled)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    with open_store(Settings().store_url) as store, store.write() as opened:
        _migrate(opened)
