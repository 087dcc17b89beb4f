"""Measurement rows: written in blocks inside a dispatcher's transaction, read as columns of one trial.

SQLite takes executemany; PostgreSQL takes COPY in its binary format, made by NumPy, on the transaction's own
connection. NaN and infinity become NULL on both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, Table, delete, insert

from service.store.copy_binary import BIGINT, DOUBLE, SMALLINT, copy_rows
from service.store.models import (
    LAYER_COLUMNS,
    MEASUREMENT_TABLES,
    NETWORK_COLUMNS,
    final,
    layer_measurement,
    measurement,
    parametrised_measurement,
)

_INTEGERS = {"step": BIGINT, "layer": SMALLINT}


def delete_measurements(connection: Connection, trials: Sequence[int], first_step: int = 0) -> None:
    """Delete the rows of these trials from a step on, and what they ended with."""
    for table in MEASUREMENT_TABLES:
        connection.execute(delete(table).where(table.c.trial_id.in_(trials), table.c.step >= first_step))
    connection.execute(delete(final).where(final.c.trial_id.in_(trials)))


def insert_measurements(
    connection: Connection,
    lanes: Mapping[int, int],
    network: pa.RecordBatch,
    layers: pa.RecordBatch,
    parametrised: pa.RecordBatch,
) -> None:
    """Insert the rows of these lanes (lane -> trial id); rows of other lanes are dropped."""
    _insert(connection, measurement, ("step", "time", *NETWORK_COLUMNS), lanes, network)
    _insert(connection, layer_measurement, ("step", "layer", *LAYER_COLUMNS), lanes, layers)
    rows = [
        {
            "trial_id": lanes[row["lane"]],
            "step": row["step"],
            "layer": row["layer"],
            "name": row["name"],
            "value": row["value"] if np.isfinite(row["value"]) else None,
        }
        for row in parametrised.to_pylist()
        if row["lane"] in lanes
    ]
    if rows:
        connection.execute(insert(parametrised_measurement), rows)


def insert_finals(
    connection: Connection,
    lanes: Mapping[int, int],
    last_steps: Mapping[int, int | None],
    network: pa.RecordBatch,
    layers: pa.RecordBatch,
) -> None:
    """Copy each ended trial's last row, with the first measured layer's, to `final`, where lists sort and filter."""
    rows: dict[int, dict[str, Any]] = {}
    for row in _last_rows(network, lanes, last_steps):
        rows[row["trial_id"]] = {name: _number(row.get(name)) for name in NETWORK_COLUMNS} | {"layer": None}
    for row in _last_rows(layers, lanes, last_steps):
        known = rows.setdefault(row["trial_id"], {"layer": None})
        if known["layer"] is None or row["layer"] < known["layer"]:
            known |= {name: _number(row.get(name)) for name in LAYER_COLUMNS} | {"layer": row["layer"]}
    columns = [column.name for column in final.columns]
    if rows:
        connection.execute(
            insert(final),
            [{name: ({"trial_id": key} | row).get(name) for name in columns} for key, row in rows.items()],
        )


def _last_rows(
    batch: pa.RecordBatch, lanes: Mapping[int, int], last_steps: Mapping[int, int | None]
) -> list[dict[str, Any]]:
    """Rows at the last step of each ended trial, with its id."""
    if not last_steps or batch.num_rows == 0:
        return []
    lane, step = batch.column("lane").to_numpy(), batch.column("step").to_numpy()
    wanted = np.full(int(lane.max()) + 1, -1, dtype=np.int64)
    for number, key in lanes.items():
        if number < len(wanted) and last_steps.get(key) is not None:
            wanted[number] = last_steps[key]
    chosen = batch.take(pa.array(np.flatnonzero(step == wanted[lane])))
    return [row | {"trial_id": lanes[row["lane"]]} for row in chosen.to_pylist()]


def _number(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _insert(
    connection: Connection, table: Table, columns: Sequence[str], lanes: Mapping[int, int], batch: pa.RecordBatch
) -> None:
    """Insert a batch into its table; metrics that the batch lacks stay NULL."""
    if batch.num_rows == 0 or not lanes:
        return
    lane = batch.column("lane").to_numpy()
    keys = np.full(max(int(lane.max()), *lanes) + 1, -1, dtype=np.int64)
    keys[list(lanes)] = list(lanes.values())
    trial_ids = keys[lane]
    kept = trial_ids >= 0
    present = [name for name in columns if name in batch.schema.names]
    values = {"trial_id": trial_ids[kept]} | {name: batch.column(name).to_numpy()[kept] for name in present}
    types = [BIGINT, *(_INTEGERS.get(name, DOUBLE) for name in present)]
    insert_columns(connection, table, values, types)


def insert_columns(
    connection: Connection, table: Table, values: Mapping[str, np.ndarray], types: Sequence[str]
) -> None:
    """Insert equally long arrays as columns, the fast way of each database; NaN and infinity become NULL.

    Args:
        connection: a transaction.
        table: where to.
        values: by column.
        types: of the columns in PostgreSQL's binary COPY, see copy_binary.py.
    """
    if connection.dialect.name == "postgresql":
        copy_rows(connection, table.name, list(values), list(values.values()), types)
        return
    # executemany with plain tuples; the driver stores NaN as NULL, infinity is made NaN first
    columns = [
        np.where(np.isinf(array), np.nan, array).tolist() if array.dtype.kind == "f" else array.tolist()
        for array in values.values()
    ]
    rows = list(zip(*columns, strict=True))
    if rows:
        # names come from our own tables, values are bound
        marks = ", ".join("?" * len(values))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({', '.join(values)}) VALUES ({marks})", rows)  # nosec B608
