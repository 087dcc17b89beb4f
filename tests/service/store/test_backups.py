"""Backups: taken while others write, restored as a store that nobody from before can commit to."""

import threading
from pathlib import Path

import pytest
from reports import lease as _lease
from reports import report as _report
from sqlalchemy import func, select, text

from service.errors import BackupRefused, SchemaMismatch, StoreReplaced
from service.grid.expansion import expand
from service.states import TrialState
from service.store import (
    backups,
    cluster,
    control,
    deletions,
    experiments,
    leases,
    partitions,
    postgresql_tools,
    range_checks,
    reports,
    schema,
    sqlite_copies,
    submissions,
)
from service.store.measured_models import measurement
from service.store.models import attempt, incarnation
from service.store.session import open_store
from service.store.tables import metadata


def _contents(store):
    """Every row of every table, but for what restoring changes."""
    changed = {"incarnation", "dispatcher"}
    with store.read() as connection:
        return {
            name: sorted(map(repr, connection.execute(select(table))))
            for name, table in metadata.tables.items()
            if name not in changed
        }


def test_a_restored_store_has_every_row(store, expansion, tmp_path, monkeypatch):
    # with tables of their own on PostgreSQL: at first of one experiment, in the end of another
    monkeypatch.setattr(partitions, "_LARGE", 1)
    submissions.create_experiment(store, expansion, idempotency_key="k")
    reports.record(store, _report(_lease(store), [0, 10, 20], ends=True), 30.0)
    before = _contents(store)
    assert backups.back_up(store, tmp_path / "backup") == (tmp_path / "backup").stat().st_size
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    control.delete_experiment(store, "e1")
    deletions.erase_deleted(store)
    submissions.create_experiment(store, expansion)
    assert _contents(store) != before
    backups.restore(store, tmp_path / "backup", replace=True)
    assert _contents(store) == before
    with store.read() as connection:
        assert range_checks.problems(connection) == []
    assert schema.check(store) == schema.head()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == ["backup"]


def test_a_backup_taken_while_others_write_is_one_moment_of_the_store(store, store_url, tiny_grid, tmp_path):
    """Every lane's rows are committed together: in any one moment all trials have the same steps."""
    submissions.create_experiment(store, expand(tiny_grid(axes={}, seeds=20)))
    leased, done, written = _lease(store), threading.Event(), threading.Event()

    def write():
        with open_store(store_url) as other:
            for block in range(10_000):
                reports.record(other, _report(leased, [block], first=block == 0), 30.0)
                written.set()
                if done.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    written.wait(30)
    backups.back_up(store, tmp_path / "backup")
    done.set()
    writer.join(30)
    backups.restore(store, tmp_path / "backup", replace=True)
    per_trial = select(func.count().label("n")).select_from(measurement).group_by(measurement.c.trial_id).subquery()
    with store.read() as connection:
        counts = connection.execute(select(func.count(), func.min(per_trial.c.n), func.max(per_trial.c.n))).one()
    assert counts[0] == 20 and counts[1] == counts[2] >= 1


def test_a_dispatcher_from_before_a_restore_can_commit_nothing(store, store_url, expansion, tmp_path):
    submissions.create_experiment(store, expansion)
    cluster.register_dispatcher(store, "old", "h", 1, 2, {})
    leased = _lease(store, "old")
    backups.back_up(store, tmp_path / "backup")
    reports.record(store, _report(leased, [0]), 30.0)
    with open_store(store_url) as operator:
        backups.restore(operator, tmp_path / "backup", replace=True)

    held = [(one.trial_id, one.attempt) for one in leased]
    for refused in (
        lambda: reports.record(store, _report(leased, [10], ends=True, first=False), 30.0),
        lambda: leases.renew(store, held, 30.0),
        lambda: leases.restart(store, held, 30.0, charge=True, error="e"),
        lambda: leases.release(store, held),
        lambda: cluster.beat(store, "old", 2, {}),
        lambda: leases.sweep(store),
        lambda: _lease(store, "old"),
    ):
        with pytest.raises(StoreReplaced, match="start it again"):
            refused()

    with open_store(store_url) as fresh:
        assert cluster.list_dispatchers(fresh) == []
        assert leases.sweep(fresh) == len(leased), "they run under nobody"
        again = _lease(fresh, "new")
        # the number that the old dispatcher would have got next, had it been asked again
        assert {one.attempt for one in again} == {2}
        reports.record(fresh, _report(again, [0, 20], ends=True), 30.0)
        with fresh.read() as connection:
            assert connection.scalar(select(func.count()).select_from(measurement)) == 2 * len(leased)
            outcomes = set(connection.scalars(select(attempt.c.outcome).where(attempt.c.number == 1)))
        assert outcomes == {"expired"}
        assert experiments.get_experiment(fresh, "e1").counts[TrialState.COMPLETED] == len(leased)


def test_a_dump_restored_without_this_service_lets_nobody_dispatch_until_upgraded(store, store_url, tmp_path):
    cluster.register_dispatcher(store, "old", "h", 1, 2, {})
    with store.write() as connection:
        connection.execute(incarnation.delete())
    with open_store(store_url) as other, pytest.raises(StoreReplaced, match="nfa db upgrade"):
        leases.sweep(other)
    with open_store(store_url) as operator:
        schema.upgrade(operator)
        assert leases.sweep(operator) == 0
    with pytest.raises(StoreReplaced):
        cluster.beat(store, "old", 2, {})


def test_a_store_with_experiments_is_not_overwritten_unasked(store, expansion, tmp_path):
    backups.back_up(store, tmp_path / "backup")
    backups.restore(store, tmp_path / "backup")  # empty: nothing is lost
    submissions.create_experiment(store, expansion)
    with pytest.raises(BackupRefused, match="--replace"):
        backups.restore(store, tmp_path / "backup")
    with pytest.raises(BackupRefused, match="exists"):
        backups.back_up(store, tmp_path / "backup")


def test_a_backup_of_a_newer_schema_is_refused_and_the_store_kept(store, expansion, tmp_path):
    submissions.create_experiment(store, expansion)
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="9999"):
        backups.back_up(store, tmp_path / "backup")
    made = tmp_path / "made"
    if store.dialect == "sqlite":
        sqlite_copies.copy(Path(store.url.database), made)
    else:
        postgresql_tools.dump(store.url, made)
    with store.write() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{schema.head()}'"))
    before = _contents(store)
    with pytest.raises(SchemaMismatch, match="9999, which is newer"):
        backups.restore(store, made, replace=True)
    assert _contents(store) == before


def test_what_is_no_backup_is_refused_in_words(store, tmp_path):
    strange = tmp_path / "strange"
    strange.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(BackupRefused, match="is no backup"):
        backups.restore(store, strange)
    with pytest.raises(BackupRefused, match="cannot be read"):
        backups.restore(store, tmp_path / "missing")
    strange.write_bytes(b"PGDMP" if store.dialect == "sqlite" else b"SQLite format 3\x00")
    with pytest.raises(BackupRefused, match="restore it into its kind"):
        backups.restore(store, strange)


def test_missing_programs_of_postgresql_are_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert postgresql_tools.programs("pg_dump"), "the wheel's"
    with pytest.raises(BackupRefused, match="pg_nothing is not on PATH"):
        postgresql_tools.programs("pg_nothing")
