"""Trials keep the state that they end with, and longer ones go on from it.

Why: trials that differ only in their length share their beginning; the longer one trains what is left. `keeps` asks for
the state, `beginning` finds trials alike, `follows` lets the longer one wait for the shorter one, `continued_from` says
what it went on from. Older trials keep none and share nothing.
"""

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Flag, Json, Key

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BEGINS, _FOLLOWS = sa.text("beginning IS NOT NULL"), sa.text("follows IS NOT NULL")


def upgrade() -> None:
    """Add columns of trials, what finds them, and the table of states."""
    op.add_column("trial", sa.Column("keeps", Flag, nullable=False, server_default=sa.text("false")))
    op.add_column("trial", sa.Column("beginning", sa.Text))
    op.add_column("trial", sa.Column("follows", Key))
    op.add_column("trial", sa.Column("continued_from", Json))
    op.create_index("ix_trial_beginning", "trial", ["beginning"], sqlite_where=_BEGINS, postgresql_where=_BEGINS)
    op.create_index("ix_trial_follows", "trial", ["follows"], sqlite_where=_FOLLOWS, postgresql_where=_FOLLOWS)
    op.create_table(
        "kept_state",
        sa.Column("trial_id", Key, nullable=False, autoincrement=False),
        sa.Column("step", Key, nullable=False),
        sa.Column("bytes", Key, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_kept_state_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", name="pk_kept_state"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("kept_state")
    op.drop_index("ix_trial_follows", "trial")
    op.drop_index("ix_trial_beginning", "trial")
    for name in ("continued_from", "follows", "beginning", "keeps"):
        op.drop_column("trial", name)
