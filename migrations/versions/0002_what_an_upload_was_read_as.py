"""What an upload was read as is kept beside its arrays.

Why: the answer names the columns that became x and y, what was left out, and whether its targets name classes, so that
a loss that cannot read them is refused when a grid is submitted and not by every trial. Older rows stay null.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Json

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("dataset", sa.Column("facts", Json))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("dataset", "facts")
