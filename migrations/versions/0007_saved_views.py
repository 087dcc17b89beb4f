"""Experiments have stars, and views that are saved under a name.

Why: which figure of a sweep shows what one found, with which filter, stood in an address that somebody had to keep. A
view keeps the parameters of that address; a star marks what one comes back to. Older experiments have neither.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Flag, Json, Key, UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column("experiment", sa.Column("starred", Flag, nullable=False, server_default=sa.text("false")))
    op.create_table(
        "saved_view",
        sa.Column("id", Key, nullable=False),
        sa.Column("experiment_id", Key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("parameters", Json, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiment.id"], name="fk_saved_view_experiment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_saved_view"),
        sa.UniqueConstraint("experiment_id", "name", name="uq_saved_view_experiment_id_name"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("saved_view")
    op.drop_column("experiment", "starred")
