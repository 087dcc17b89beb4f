"""Which commits wait for the disk. On both databases."""

from sqlalchemy import Connection


def _waits_for_the_disk(connection: Connection) -> bool:
    if connection.dialect.name == "postgresql":
        return connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    return connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_what_would_be_written_again_waits_for_no_disk_and_all_else_does(store):
    seen = []
    for transaction in (store.write, store.write_again, store.write, store.write_again, store.write_again, store.write):
        with transaction() as connection:
            seen.append(_waits_for_the_disk(connection))
    assert seen == [True, False, True, False, False, True]
