"""The first schema.

Why: settings are stored once per grid point and shared by its seeds; trials are addressed by fingerprint and shared
by experiments; measurements are plain rows, one column per metric. All tables are STRICT on SQLite.
"""

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

from service.store.column_types import Flag, Json, Key, Real, Small, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NETWORK = (
    "train_loss",
    "test_loss",
    "relative_loss",
    "gradient_norm",
    "weight_norm",
    "imbalance",
    "imbalance_relative",
    "accuracy",
    "modes",
)
LAYER = (
    "alignment",
    "alignment_half",
    "alignment_one",
    "residual",
    "scale",
    "best_exponent",
    "best_exponent_kind",
    "best_alignment",
    "null_floor",
    "agop_rank",
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
TABLES = (
    "settings",
    "trial",
    "experiment",
    "experiment_trial",
    "attempt",
    "final",
    "measurement",
    "layer_measurement",
    "parametrised_measurement",
    "kept_weights",
    "checkpoint",
    "dispatcher",
    "dataset",
    "idempotency",
    "token",
    "incarnation",
)


WAITS = "state = 'queued' AND queued_for IS NOT NULL"


def _where(condition: str) -> dict[str, Any]:
    """Options of an index on the rows that meet a condition."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _reals(names: tuple[str, ...]) -> list[sa.Column]:
    return [sa.Column(name, Real) for name in names]


def _trial_key() -> sa.Column:
    return sa.Column("trial_id", Key, sa.ForeignKey("trial.id"), primary_key=True, autoincrement=False)


def _unchecked_trial_key() -> sa.Column:
    """No foreign key: checking one for every row would take half of a sweep's writing (docs/decisions/0009)."""
    return sa.Column("trial_id", Key, primary_key=True, autoincrement=False)


def _step() -> sa.Column:
    return sa.Column("step", Key, primary_key=True, autoincrement=False)


def _layer() -> sa.Column:
    return sa.Column("layer", Small, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Create every table."""
    _create_trials()
    _create_experiments()
    _create_measurements()
    _create_the_rest()


def _create_trials() -> None:
    op.create_table(
        "settings",
        sa.Column("id", Key, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("stack_key", sa.Text, nullable=False),
        sa.Column("document", Json, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "trial",
        sa.Column("id", Key, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False, unique=True),
        sa.Column("settings_id", Key, sa.ForeignKey("settings.id"), nullable=False, index=True),
        sa.Column("seed", Key, nullable=False),
        sa.Column("stack_key", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False, server_default=sa.text("'auto'")),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", Key, nullable=False, server_default=sa.text("0")),
        sa.Column("failures", Key, nullable=False, server_default=sa.text("0")),
        sa.Column("interruptions", Key, nullable=False, server_default=sa.text("0")),
        sa.Column("stack_limit", Key, nullable=False, server_default=sa.text("0")),
        sa.Column("checkpoint_step", Key, nullable=False, server_default=sa.text("-1")),
        sa.Column("kept_every", Key, nullable=False, server_default=sa.text("1")),
        sa.Column("queued_for", Key),
        sa.Column("priority", Key, nullable=False, server_default=sa.text("0")),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", Real),
        sa.Column("lease_clock", sa.Text),
        sa.Column("last_step", Key),
        sa.Column("error", sa.Text),
        sa.Column("provenance", Json),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("started_at", UtcTime),
        sa.Column("ended_at", UtcTime),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_trial_queue", "trial", ["priority", "queued_for", "id", "device"], **_where(WAITS))
    op.create_index("ix_trial_stack_queue", "trial", ["stack_key", "priority", "queued_for", "id"], **_where(WAITS))
    op.create_index("ix_trial_running", "trial", ["queued_for"], **_where("state = 'running'"))


def _create_experiments() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", Key, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("priority", Key, nullable=False),
        sa.Column("paused", Flag, nullable=False),
        sa.Column("grid", Json, nullable=False),
        sa.Column("axes", Json, nullable=False),
        sa.Column("claims", Json, nullable=False),
        sa.Column("trials", Key, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("leased_at", UtcTime),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "experiment_trial",
        sa.Column("experiment_id", Key, sa.ForeignKey("experiment.id"), primary_key=True),
        sa.Column("position", Key, primary_key=True),
        sa.Column("trial_id", Key, sa.ForeignKey("trial.id"), nullable=False, index=True),
        sa.Column("wanted", Flag, nullable=False),
        sa.UniqueConstraint("experiment_id", "trial_id"),
        sqlite_strict=True,
    )


def _create_measurements() -> None:
    op.create_table(
        "attempt",
        _trial_key(),
        sa.Column("number", Key, primary_key=True, autoincrement=False),
        sa.Column("dispatcher", sa.Text, nullable=False),
        sa.Column("host", sa.Text),
        sa.Column("node", sa.Text),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("ended_at", UtcTime),
        sa.Column("outcome", sa.Text),
        sa.Column("error", sa.Text),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table("final", _trial_key(), sa.Column("layer", Small), *_reals(NETWORK + LAYER), sqlite_strict=True)
    rowless = {"sqlite_strict": True, "sqlite_with_rowid": False}
    op.create_table(
        "measurement", _unchecked_trial_key(), _step(), sa.Column("time", Real), *_reals(NETWORK), **rowless
    )
    op.create_table("layer_measurement", _unchecked_trial_key(), _step(), _layer(), *_reals(LAYER), **rowless)
    op.create_table(
        "parametrised_measurement",
        _trial_key(),
        _step(),
        _layer(),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", Real),
        **rowless,
    )
    op.create_table(
        "kept_weights",
        _trial_key(),
        _step(),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "checkpoint",
        _trial_key(),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )


def _create_the_rest() -> None:
    op.create_table(
        "dispatcher",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", Key, nullable=False),
        sa.Column("slots", Key, nullable=False),
        sa.Column("resources", Json, nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("seen_at", UtcTime, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "dataset",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("arrays", Json, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("body_digest", sa.Text, nullable=False),
        sa.Column("experiment_id", Key, nullable=False),
        sa.Column("answer", Json, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "token",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("expires_at", UtcTime),
        sa.Column("last_used_at", UtcTime),
        sa.Column("revoked_at", UtcTime),
        sqlite_strict=True,
    )
    made = op.create_table("incarnation", sa.Column("id", sa.Text, primary_key=True), sqlite_strict=True)
    op.bulk_insert(made, [{"id": str(uuid.uuid4())}])


def downgrade() -> None:
    """Drop every table."""
    for table in reversed(TABLES):
        op.drop_table(table)
