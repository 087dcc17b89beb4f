"""PostgreSQL vacuums large tables when a fiftieth of their rows is dead, and not a fifth.

Why: with the defaults a table of 10^9 measured rows gathers 2 x 10^8 dead ones, some 25 GiB, before anybody can use
their room again; see docs/decisions/0031. Less than a fiftieth would not do: below that PostgreSQL leaves the entries
of dead rows in the indexes.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_MEASURED = ("measurement", "layer_measurement", "parametrised_measurement")
_OTHERS = ("trial", "experiment_trial", "final", "attempt")
_NAMES = ("autovacuum_vacuum_scale_factor", "autovacuum_vacuum_threshold", "autovacuum_analyze_scale_factor")


def upgrade() -> None:
    """Storage parameters alone: no row is written."""
    if op.get_bind().dialect.name == "postgresql":
        for tables, threshold in ((_MEASURED, 100_000), (_OTHERS, 10_000)):
            for table in tables:
                values = ", ".join(
                    f"{name} = {value}" for name, value in zip(_NAMES, (0.02, threshold, 0.02), strict=True)
                )
                op.execute(f"ALTER TABLE {table} SET ({values})")


def downgrade() -> None:
    """The defaults again."""
    if op.get_bind().dialect.name == "postgresql":
        for table in (*_MEASURED, *_OTHERS):
            op.execute(f"ALTER TABLE {table} RESET ({', '.join(_NAMES)})")
