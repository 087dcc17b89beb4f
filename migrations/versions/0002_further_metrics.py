"""Columns for the further metrics of the literature.

Why: every metric with an id of its own is a column, so that SQL and notebooks can read it. Adding nullable columns
rewrites no row on either database.
"""

import sqlalchemy as sa
from alembic import op

from service.store.columns import Real

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NETWORK = ("accuracy", "modes")
LAYER = (
    "pearson",
    "pearson_offdiagonal",
    "nfa_dnfa",
    "nfa_agopfl",
    "uc_nfa",
    "c_nfa",
    "fact_alignment",
    "layer_imbalance",
    "gram_norm",
    "agop_norm",
    "gram_stable_rank",
    "agop_stable_rank",
)
COLUMNS = {"measurement": NETWORK, "layer_measurement": LAYER, "final": NETWORK + LAYER}


def upgrade() -> None:
    """Add the columns."""
    for table, names in COLUMNS.items():
        for name in names:
            op.add_column(table, sa.Column(name, Real))


def downgrade() -> None:
    """Drop them."""
    for table, names in COLUMNS.items():
        for name in names:
            op.drop_column(table, name)
