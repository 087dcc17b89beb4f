"""Experiments that are traced are noted until their root span was sent.

Why: a span that begins with a request and ends with the last row, hours later, is in no process's memory for so long.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Key, UtcTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "traced",
        sa.Column("experiment_id", Key, nullable=False, autoincrement=False),
        sa.Column("began_at", UtcTime, nullable=False),
        sa.Column("caller", sa.Text),
        sa.Column("taken_until", UtcTime),
        sa.PrimaryKeyConstraint("experiment_id", name="pk_traced"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Drop it: roots that were not sent never are."""
    op.drop_table("traced")
