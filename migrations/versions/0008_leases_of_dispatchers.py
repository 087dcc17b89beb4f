"""A dispatcher's leases are one row: what it holds runs out together, and renewing touches no trial.

Why: every heartbeat rewrote the row of each running trial, and so did every block of measurements. What is taken from a
holder, by a cancel, a pause or a sweep, is noted for it, so that it need not look through what it holds.

Trials leased by an older version keep a time of their own in `trial.lease_until`, which counts as before.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Key, Real

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_RUNS = sa.text("state = 'running'")


def upgrade() -> None:
    """Make the tables and the index by which sweeps find holders."""
    op.create_table(
        "holder",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until", Real, nullable=False),
        sa.Column("clock", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_holder"),
        sqlite_strict=True,
    )
    op.create_table(
        "taken_trial",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("trial_id", Key, nullable=False, autoincrement=False),
        sa.Column("attempt", Key, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("owner", "trial_id", "attempt", name="pk_taken_trial"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_trial_held",
        "trial",
        ["owner", "lease_clock", "lease_until"],
        sqlite_where=_RUNS,
        postgresql_where=_RUNS,
    )


def downgrade() -> None:
    """Drop them; an older version knows no lease without a time of its own, so that what runs is to be swept."""
    op.execute("UPDATE trial SET lease_until = -1 WHERE state = 'running' AND lease_until IS NULL")
    op.drop_index("ix_trial_held", "trial")
    op.drop_table("taken_trial")
    op.drop_table("holder")
