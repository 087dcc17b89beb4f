"""The names of a network's layers are kept beside its settings.

Why: a network that is a graph has layers with names, by which questions, figures and claims ask for them; which number
a name has follows from the settings and, for uploaded data, from arrays that may be gone. Older settings stay null:
fully connected networks have layers with numbers alone.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Json

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("settings", sa.Column("layers", Json))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("settings", "layers")
