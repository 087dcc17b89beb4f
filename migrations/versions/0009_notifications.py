"""Experiments tell addresses what became of them, and the last hour is looked up.

Why: whoever waits for a sweep, a chat or another program, had to ask again and again. A grid's `notify` becomes
subscriptions; what is told waits in an outbox until its receiver has taken it. The cluster's page counts what ended
lately and shows what failed: two partial indexes keep that as quick among a million trials. Old trials are indexed as
the database is upgraded, some seconds for a million.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Flag, Json, Key, UtcTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ENDED = sa.text("ended_at IS NOT NULL")
_FAILED = sa.text("state = 'failed'")
_OPEN = sa.text("next_at IS NOT NULL")


def upgrade() -> None:
    """Add both tables and the indexes."""
    op.create_table(
        "subscription",
        sa.Column("experiment_id", Key, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("is_open", Flag, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "url", "event", name="pk_subscription"),
        sqlite_strict=True,
    )
    op.create_table(
        "notification",
        sa.Column("id", Key, nullable=False),
        sa.Column("experiment_id", Key, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("attempts", Key, nullable=False),
        sa.Column("next_at", UtcTime),
        sa.Column("delivered_at", UtcTime),
        sa.Column("error", sa.Text),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notification"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notification_experiment_id", "notification", ["experiment_id"])
    op.create_index("ix_notification_next", "notification", ["next_at"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("ix_trial_ended", "trial", ["ended_at"], sqlite_where=_ENDED, postgresql_where=_ENDED)
    op.create_index("ix_trial_failed", "trial", ["ended_at"], sqlite_where=_FAILED, postgresql_where=_FAILED)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_trial_failed", "trial")
    op.drop_index("ix_trial_ended", "trial")
    op.drop_table("notification")
    op.drop_table("subscription")
