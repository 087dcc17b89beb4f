"""Where a metric's values lie: a column of the network's or the layers' rows, or the rows of a parametrised metric."""

from dataclasses import dataclass

from sqlalchemy import Table, and_, true
from sqlalchemy.sql import ColumnElement

from nfa_kernels import names
from service.store.models import (
    LAYER_COLUMNS,
    final,
    layer_measurement,
    measurement,
    parametrised_measurement,
)


@dataclass(frozen=True)
class Source:
    """A metric's values by trial and step: `value` in the rows of `table` that satisfy `condition`."""

    table: Table
    value: ColumnElement[float]
    condition: ColumnElement[bool]


def is_layered(metric: str) -> bool:
    """Whether a metric has one value per layer."""
    return metric in LAYER_COLUMNS or names.family_member(metric) is not None


def source_of(metric: str, layer: int | None) -> Source:
    """The rows of a metric; `layer` counts for metrics that have one."""
    if metric in LAYER_COLUMNS:
        table = layer_measurement
        return Source(table, table.c[metric], table.c.layer == layer)
    if names.family_member(metric) is not None:
        table = parametrised_measurement
        return Source(table, table.c.value, and_(table.c.layer == layer, table.c.name == metric))
    return Source(measurement, measurement.c[metric], true())


def final_column(metric: str) -> ColumnElement[float] | None:
    """The metric's column on `final`, which holds the first measured layer's value; None for a parametrised one."""
    return final.c.get(metric)
