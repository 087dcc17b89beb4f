"""Measurement rows: written in blocks inside a dispatcher's transaction; NaN and infinity become NULL."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, Table, delete

from service.store.bulk_writes import insert_columns
from service.store.copy_binary import BIGINT, DOUBLE, SMALLINT, TEXT
from service.store.measured_models import (
    LAYER_COLUMNS,
    MEASUREMENT_TABLES,
    NETWORK_COLUMNS,
    NETWORK_LAYER,
    final,
    layer_measurement,
    measurement,
    parametrised_measurement,
)

_INTEGERS = {"trial_id": BIGINT, "step": BIGINT, "layer": SMALLINT}


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
    for batch, columns in ((network, NETWORK_COLUMNS), (layers, LAYER_COLUMNS)):
        for name in batch.schema.names:
            if name not in (*columns, "lane", "step", "time", "layer"):
                _insert_named(connection, name, lanes, batch, batch.column(name).to_numpy())
    families = parametrised.column("name").dictionary_encode()
    for place, name in enumerate(families.dictionary.to_pylist()):
        own = parametrised.filter(pa.array(families.indices.to_numpy() == place))
        _insert_named(connection, name, lanes, own, own.column("value").to_numpy())


def _insert_named(
    connection: Connection, name: str, lanes: Mapping[int, int], batch: pa.RecordBatch, values: np.ndarray
) -> None:
    """Insert the values of one metric that has no column; without a layer they are the network's."""
    trial_ids = _trial_ids(lanes, batch)
    rows = np.flatnonzero(trial_ids >= 0)
    if len(rows) == 0:
        return
    has_layer = "layer" in batch.schema.names
    columns = {
        "trial_id": trial_ids[rows],
        "step": batch.column("step").to_numpy()[rows],
        "layer": batch.column("layer").to_numpy()[rows] if has_layer else np.full(len(rows), NETWORK_LAYER),
        "name": np.full(len(rows), name),
        "value": values[rows],
    }
    insert_columns(connection, parametrised_measurement, columns, [BIGINT, BIGINT, SMALLINT, TEXT, DOUBLE])


def _trial_ids(lanes: Mapping[int, int], batch: pa.RecordBatch) -> np.ndarray:
    """The trial of each row; -1 for one of another lane."""
    lane = batch.column("lane").to_numpy()
    keys = np.full(max([int(lane.max(initial=-1)), *lanes]) + 1, -1, dtype=np.int64)
    keys[list(lanes)] = list(lanes.values())
    return keys[lane]


def insert_finals(
    connection: Connection,
    lanes: Mapping[int, int],
    last_steps: Mapping[int, int | None],
    network: pa.RecordBatch,
    layers: pa.RecordBatch,
) -> None:
    """Copy each ended trial's last row, with the first measured layer's, to `final`, where lists sort and filter."""
    of_network, network = _last_rows(network, lanes, last_steps)
    of_layers, layers = _last_rows(layers, lanes, last_steps)
    keys = np.union1d(of_network, of_layers)
    if len(keys) == 0:
        return
    values = {"trial_id": keys, "layer": np.full(len(keys), np.nan)}
    # of a trial's layers the first, which is written last
    order = np.argsort(-layers.column("layer").to_numpy(), kind="stable")
    parts = ((of_network, network, slice(None), NETWORK_COLUMNS), (of_layers, layers, order, ("layer", *LAYER_COLUMNS)))
    for trials, batch, rows, names in parts:
        places = np.searchsorted(keys, trials[rows])
        for name in set(names) & set(batch.schema.names):
            column = values.setdefault(name, np.full(len(keys), np.nan))
            column[places] = batch.column(name).to_numpy()[rows]
    types = [_INTEGERS.get(name, DOUBLE) for name in values]
    insert_columns(connection, final, values, types)


def _last_rows(
    batch: pa.RecordBatch, lanes: Mapping[int, int], last_steps: Mapping[int, int | None]
) -> tuple[np.ndarray, pa.RecordBatch]:
    """Trial ids of the rows at the last step of each ended trial, and the rows."""
    if not last_steps or batch.num_rows == 0:
        return np.empty(0, np.int64), batch.slice(0, 0)
    lane, step = batch.column("lane").to_numpy(), batch.column("step").to_numpy()
    wanted = np.full(max(int(lane.max()), *lanes) + 1, -1, dtype=np.int64)
    keys = np.full(len(wanted), -1, dtype=np.int64)
    for number, key in lanes.items():
        last = last_steps.get(key)
        wanted[number], keys[number] = -1 if last is None else last, key
    chosen = np.flatnonzero(step == wanted[lane])
    return keys[lane[chosen]], batch.take(pa.array(chosen))


def _insert(
    connection: Connection, table: Table, columns: Sequence[str], lanes: Mapping[int, int], batch: pa.RecordBatch
) -> None:
    """Insert a batch into its table; metrics that the batch lacks stay NULL."""
    if batch.num_rows == 0 or not lanes:
        return
    trial_ids = _trial_ids(lanes, batch)
    # a trial's rows stand together, so that its series lies on few pages; they come step by step
    rows = np.argsort(trial_ids, kind="stable")
    rows = rows[trial_ids[rows] >= 0]
    present = [name for name in columns if name in batch.schema.names]
    values = {"trial_id": trial_ids[rows]} | {name: batch.column(name).to_numpy()[rows] for name in present}
    types = [BIGINT, *(_INTEGERS.get(name, DOUBLE) for name in present)]
    insert_columns(connection, table, values, types)
