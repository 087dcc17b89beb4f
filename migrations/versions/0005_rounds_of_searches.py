"""Experiments that search: whether one is looking for more, why a search ended early, and the rounds that were added.

Why: a grid may ask for a boundary to a tolerance or for seeds until an interval is narrow. Which points that takes
follows from what has finished, so that dispatchers add them; what they added, and on whose behalf, is kept.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Flag, Json, Key, UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("experiment", sa.Column("searching", Flag, nullable=False, server_default=sa.text("false")))
    op.add_column("experiment", sa.Column("stopped", Json))
    op.create_table(
        "search_round",
        sa.Column("experiment_id", Key, sa.ForeignKey("experiment.id"), primary_key=True, autoincrement=False),
        sa.Column("number", Key, primary_key=True, autoincrement=False),
        sa.Column("additions", Json, nullable=False),
        sa.Column("added", Json, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them; what was added stays as trials of its experiments."""
    op.drop_table("search_round")
    op.drop_column("experiment", "stopped")
    op.drop_column("experiment", "searching")
