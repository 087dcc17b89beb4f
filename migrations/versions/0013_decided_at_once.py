"""What is decided about a large experiment holds at once; the rows of its trials follow some at a time.

Why: cancelling 100,000 trials wrote three tables for each of them before it was answered, 5 to 7 s. Now it is noted on
the experiment from which position on its trials have yet to follow (`unsettled_from`), and whether they are cancelled
for it (`stopping`). Nobody leases them from then on, and whoever asks is told so.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Flag, Key

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_HELD_BACK = sa.text("deleted_at IS NOT NULL OR unsettled_from IS NOT NULL")


def upgrade() -> None:
    """Nothing waits to follow."""
    op.add_column("experiment", sa.Column("unsettled_from", Key))
    op.add_column("experiment", sa.Column("stopping", Flag, nullable=False, server_default=sa.text("false")))
    op.create_index(
        "ix_experiment_held_back", "experiment", ["id"], sqlite_where=_HELD_BACK, postgresql_where=_HELD_BACK
    )


def downgrade() -> None:
    """For a service that has drawn every consequence: what had yet to follow is left as it is."""
    op.drop_index("ix_experiment_held_back", "experiment")
    op.drop_column("experiment", "stopping")
    op.drop_column("experiment", "unsettled_from")
