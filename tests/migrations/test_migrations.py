"""The schema: what migrations make equals the models, and an unknown schema is refused in one line."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from service.errors import SchemaMismatch
from service.store import schema
from service.store.partitions import is_modelled
from service.store.session import open_store
from service.store.tables import metadata


def test_migrating_an_empty_database_makes_the_models(store):
    with store.read() as connection:
        options = {"compare_type": True, "compare_server_default": False, "include_name": is_modelled}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_known_revisions_are_those_of_the_migrations_oldest_first():
    newest_first = ScriptDirectory.from_config(schema._config()).walk_revisions()
    assert [one.revision for one in newest_first][::-1] == list(schema._known())


def test_upgrading_again_changes_nothing(store):
    assert schema.upgrade(store) == schema.head() == schema.check(store)


def test_tables_are_strict_on_sqlite(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'nfa.db'}") as store:
        schema.upgrade(store)
        with store.read() as connection:
            tables = connection.execute(text("PRAGMA table_list")).mappings().all()
    ours = [row for row in tables if row["name"] in metadata.tables]
    assert len(ours) == len(metadata.tables)
    assert all(row["strict"] for row in ours)


def test_a_newer_schema_is_refused_with_what_to_do(store):
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refused in (schema.check, schema.upgrade):
        with pytest.raises(SchemaMismatch, match="9999, which is newer than this version knows"):
            refused(store)


def test_a_database_without_a_schema_is_refused_with_the_command_that_makes_one(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'nfa.db'}")
    with store, pytest.raises(SchemaMismatch, match="nfa db upgrade"):
        schema.check(store)


def test_the_sqlite_file_is_its_owners_alone(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'home' / 'nfa.db'}") as store:
        schema.upgrade(store)
        assert (tmp_path / "home" / "nfa.db").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def test_a_failed_migration_leaves_the_database_as_it_was(store, monkeypatch):
    with store.write() as connection:
        before = set(inspect(connection).get_table_names())

    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("alembic.command.upgrade", fail)
    with pytest.raises(ZeroDivisionError):
        schema.upgrade(store)
    with store.read() as connection:
        assert set(inspect(connection).get_table_names()) == before


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_counting_a_trial_does_not_read_its_experiments_grid(store):
    with store.read() as connection:
        triggers = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'trigger'").scalars().all()
    asking = [one for one in triggers if "experiment holder" in one]
    assert asking and all("experiment holder INDEXED BY ix_experiment_created" in one for one in asking)


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_large_tables_are_vacuumed_when_a_fiftieth_is_dead(store):
    with store.read() as connection:
        told = dict(
            connection.execute(text("SELECT relname, reloptions FROM pg_class WHERE relkind = 'r'")).tuples().all()
        )
    for table in ("measurement_0", "layer_measurement_0", "parametrised_measurement", "trial", "experiment_trial"):
        assert "autovacuum_vacuum_scale_factor=0.02" in (told[table] or []), table
