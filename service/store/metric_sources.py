"""Where a metric's values lie: a column of the network's or the layers' rows, or rows by name."""

from dataclasses import dataclass

from sqlalchemy import Table, and_, true
from sqlalchemy.sql import ColumnElement

from nfa_kernels import names
from service.store.measured_models import (
    LAYER_COLUMNS,
    NETWORK_COLUMNS,
    NETWORK_LAYER,
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
    return metric not in names.NETWORK_METRICS


def source_of(metric: str, layer: int | None) -> Source:
    """The rows of a metric; `layer` counts for metrics that have one."""
    if metric in LAYER_COLUMNS:
        table = layer_measurement
        return Source(table, table.c[metric], table.c.layer == layer)
    if metric in NETWORK_COLUMNS:
        return Source(measurement, measurement.c[metric], true())
    table = parametrised_measurement
    place = layer if is_layered(metric) else NETWORK_LAYER
    return Source(table, table.c.value, and_(table.c.layer == place, table.c.name == metric))


def final_column(metric: str) -> ColumnElement[float] | None:
    """The metric's column on `final`, which holds the first measured layer's value; None for one without."""
    return final.c.get(metric)
