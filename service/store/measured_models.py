"""The tables of what trials measure and keep.

Metric columns follow `nfa_kernels.names.METRICS`, one each, so that SQL and notebooks can read them. A metric whose
value is a word is stored as the word's place in the metric's `words`, which keeps every measurement row of fixed width.
"""

from typing import Any

from sqlalchemy import Column, ForeignKey, LargeBinary, Text

from service.store.column_types import Key, Real, Small
from service.store.tables import table

NETWORK_COLUMNS = (
    *("train_loss", "test_loss", "relative_loss", "gradient_norm", "weight_norm", "imbalance", "imbalance_relative"),
    *("accuracy", "modes"),
)


LAYER_COLUMNS = (
    *("alignment", "alignment_half", "alignment_one", "residual", "scale", "best_exponent", "best_exponent_kind"),
    *("best_alignment", "null_floor", "agop_rank", "pearson", "pearson_offdiagonal", "nfa_dnfa", "nfa_agopfl"),
    *("uc_nfa", "c_nfa", "fact_alignment", "layer_imbalance", "gram_norm", "agop_norm", "gram_stable_rank"),
    "agop_stable_rank",
)
"""Metrics with a column of their own. Every other one lies in rows by name, so that a new metric needs no migration."""


NETWORK_LAYER = 0
"""The layer under which rows by name hold a metric of the network."""


def _metric_columns(metrics: tuple[str, ...]) -> list[Column[Any]]:
    return [Column(name, Real) for name in metrics]


final = table(
    "final",
    Column("trial_id", Key, ForeignKey("trial.id"), primary_key=True, autoincrement=False),
    Column("layer", Small),
    *_metric_columns((*NETWORK_COLUMNS, *LAYER_COLUMNS)),
)


measurement = table(
    "measurement",
    # no foreign keys here and in layer_measurement: docs/decisions/0009
    Column("trial_id", Key, primary_key=True, autoincrement=False),
    Column("step", Key, primary_key=True, autoincrement=False),
    Column("time", Real),
    *_metric_columns(NETWORK_COLUMNS),
    sqlite_with_rowid=False,
)


layer_measurement = table(
    "layer_measurement",
    Column("trial_id", Key, primary_key=True, autoincrement=False),
    Column("step", Key, primary_key=True, autoincrement=False),
    Column("layer", Small, primary_key=True, autoincrement=False),
    *_metric_columns(LAYER_COLUMNS),
    sqlite_with_rowid=False,
)


parametrised_measurement = table(
    "parametrised_measurement",
    Column("trial_id", Key, ForeignKey("trial.id"), primary_key=True, autoincrement=False),
    Column("step", Key, primary_key=True, autoincrement=False),
    Column("layer", Small, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", Real),
    sqlite_with_rowid=False,
)


kept_weights = table(
    "kept_weights",
    Column("trial_id", Key, ForeignKey("trial.id"), primary_key=True, autoincrement=False),
    Column("step", Key, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)


checkpoint = table(
    "checkpoint",
    Column("trial_id", Key, ForeignKey("trial.id"), primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)


kept_state = table(
    "kept_state",
    Column("trial_id", Key, ForeignKey("trial.id"), primary_key=True, autoincrement=False),
    Column("step", Key, nullable=False),
    # of the content: summed without reading it
    Column("bytes", Key, nullable=False),
    Column("content", LargeBinary, nullable=False),
)


MEASUREMENT_TABLES = (measurement, layer_measurement, parametrised_measurement, kept_weights)
"""What a trial's attempt writes, by trial and step."""
