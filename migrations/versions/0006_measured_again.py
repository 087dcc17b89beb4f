"""Kept weights can be measured again: what was asked for, and how far each trial in it is.

Why: a metric that is wanted later is measured on weights that were kept, without training, under leases of its own;
the trial stays completed. Which numbers were measured so, and by which version of a definition, is told by these rows.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Json, Key, Real, UtcTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_QUEUED, _RUNS = sa.text("state = 'queued'"), sa.text("state = 'running'")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "remeasurement",
        sa.Column("id", Key, nullable=False),
        sa.Column("experiment_id", Key),
        sa.Column("asked", Json, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("definitions", Json, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("leased_at", UtcTime),
        sa.PrimaryKeyConstraint("id", name="pk_remeasurement"),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_remeasurement_experiment_id"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_remeasurement_experiment_id", "remeasurement", ["experiment_id"])
    op.create_index("ix_remeasurement_digest", "remeasurement", ["digest"])
    op.create_table(
        "remeasured_trial",
        sa.Column("id", Key, nullable=False),
        sa.Column("remeasurement_id", Key, nullable=False),
        sa.Column("trial_id", Key, nullable=False),
        sa.Column("trial_attempt", Key, nullable=False),
        sa.Column("steps", Json, nullable=False),
        sa.Column("stack_key", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", Key, nullable=False, server_default=sa.text("0")),
        sa.Column("failures", Key, nullable=False, server_default=sa.text("0")),
        sa.Column("stack_limit", Key, nullable=False, server_default=sa.text("0")),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", Real),
        sa.Column("lease_clock", sa.Text),
        sa.Column("replaced", Json),
        sa.Column("error", sa.Text),
        sa.Column("ended_at", UtcTime),
        sa.PrimaryKeyConstraint("id", name="pk_remeasured_trial"),
        sa.ForeignKeyConstraint(
            ["remeasurement_id"], ["remeasurement.id"], name="fk_remeasured_trial_remeasurement_id"
        ),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_remeasured_trial_trial_id"),
        sa.UniqueConstraint("remeasurement_id", "trial_id", name="uq_remeasured_trial_remeasurement_id_trial_id"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_remeasured_trial_trial_id", "remeasured_trial", ["trial_id"])
    op.create_index(
        "ix_remeasured_trial_queue",
        "remeasured_trial",
        ["remeasurement_id", "stack_key", "id"],
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    )
    op.create_index(
        "ix_remeasured_trial_running", "remeasured_trial", ["id"], sqlite_where=_RUNS, postgresql_where=_RUNS
    )


def downgrade() -> None:
    """Drop them; the numbers that were measured again stay."""
    op.drop_table("remeasured_trial")
    op.drop_table("remeasurement")
