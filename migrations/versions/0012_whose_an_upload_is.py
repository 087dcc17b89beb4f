"""Uploads have an owner and a size.

Why: what one owner's uploads hold together has a limit. Older rows stay null: they are nobody's, and count for nobody.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Key

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and the index that an owner's uploads are added up by."""
    op.add_column("dataset", sa.Column("owner", sa.Text))
    op.add_column("dataset", sa.Column("bytes", Key))
    op.create_index("ix_dataset_owner", "dataset", ["owner", "bytes"])


def downgrade() -> None:
    """Drop them: nothing limits uploads any more."""
    op.drop_index("ix_dataset_owner", "dataset")
    op.drop_column("dataset", "bytes")
    op.drop_column("dataset", "owner")
