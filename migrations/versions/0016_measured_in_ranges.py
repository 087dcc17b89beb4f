"""On PostgreSQL measured rows lie in tables by ranges of trials, so that a large experiment's go with their table.

Why: deleting ten million rows one by one took 10 s of the database's time and left as many dead ones to be vacuumed;
see docs/decisions/0033. The tables that are there become those of the first range, as they are: each is read once, to
see that its rows belong there, and none is written. SQLite keeps its tables.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Flag, Key, UtcTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TABLES = ("measurement", "layer_measurement")
"""Each range's have keys; that of the whole has none, since pg_restore --clean stumbles over keys of partitions."""
_MORE = 1 << 16
"""Trials that still come into the first range."""
_USED = (
    "SELECT greatest((SELECT max(id) FROM trial), (SELECT max(trial_id) FROM measurement), "
    "(SELECT max(trial_id) FROM layer_measurement), (SELECT last_value FROM {sequence}), 0)"
)
_LEFT = (
    "DELETE FROM {table} USING measured_range WHERE measured_range.leaving AND trial_id >= first AND trial_id < below "
    "AND NOT EXISTS (SELECT 1 FROM trial WHERE trial.id = trial_id)"
)
"""Rows of deleted trials that were to go with their table."""


def upgrade() -> None:
    """The tables are the first range's; new ones, of that alone, have their names."""
    op.create_table(
        "measured_range",
        sa.Column("first", Key, primary_key=True, autoincrement=False),
        sa.Column("below", Key, nullable=False),
        sa.Column("leaving", Flag, nullable=False),
        sa.Column("emptied_at", UtcTime),
        sa.Column("created_at", UtcTime, nullable=False),
        sqlite_strict=True,
    )
    if op.get_bind().dialect.name != "postgresql":
        return
    sequence = op.get_bind().scalar(sa.text("SELECT pg_get_serial_sequence('trial', 'id')"))
    # nobody writes a row of a trial that is not seen here
    op.execute(f"LOCK TABLE {', '.join(_TABLES)} IN ACCESS EXCLUSIVE MODE")
    below = op.get_bind().scalar(sa.text(_USED.format(sequence=sequence))) + 1 + _MORE
    op.execute(f"INSERT INTO measured_range VALUES (0, {below}, false, NULL, now())")
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} RENAME TO {table}_0")
        op.execute(f"ALTER TABLE {table}_0 RENAME CONSTRAINT pk_{table} TO pk_{table}_0")
        op.execute(f"CREATE TABLE {table} (LIKE {table}_0) PARTITION BY RANGE (trial_id)")
        op.execute(f"ALTER TABLE {table} ATTACH PARTITION {table}_0 FOR VALUES FROM (0) TO ({below})")


def downgrade() -> None:
    """Rows of all ranges go into the first one's tables, which have the names again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"LOCK TABLE {', '.join(_TABLES)} IN ACCESS EXCLUSIVE MODE")
        for table in _TABLES:
            op.execute(_LEFT.format(table=table))
            op.execute(f"ALTER TABLE {table} DETACH PARTITION {table}_0")
            op.execute(f"INSERT INTO {table}_0 SELECT * FROM {table}")
            op.execute(f"DROP TABLE {table}")
            op.execute(f"ALTER TABLE {table}_0 RENAME TO {table}")
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT pk_{table}_0 TO pk_{table}")
    op.drop_table("measured_range")
