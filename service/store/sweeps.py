"""A whole sweep, every measurement of every trial, a piece at a time: what an export streams.

Each piece is read in a transaction of its own, which is over before the piece is handed on: whoever reads slowly, or
goes away, holds nothing.
"""

from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from sqlalchemy import Connection, Table, case, select

from nfa_kernels import names
from service.grid.inputs import names_measured
from service.grid.reading import layer_names, setting
from service.questions.tables import column, column_type
from service.store.bulk_reads import read_columns
from service.store.experiments import require
from service.store.finals import words_of
from service.store.ids import trial_id
from service.store.keys import listed
from service.store.known_settings import documents_of
from service.store.measured_models import (
    LAYER_COLUMNS,
    NETWORK_COLUMNS,
    layer_measurement,
    measurement,
    parametrised_measurement,
)
from service.store.members import Member, members_in
from service.store.models import experiment
from service.store.remeasured import remeasured_in
from service.store.session import Store

Level = Literal["layer", "network"]
_Parts = Iterator[tuple[list[Member], Mapping[int, Mapping[str, Any]]]]
PIECE_ROWS = 100_000
_PIECE_TRIALS = 5_000
_AHEAD = {"sqlite": 1, "postgresql": 2}
"""Pieces that are read while another is written: PostgreSQL reads in processes of its own, SQLite in this one."""


@dataclass(frozen=True)
class Sweep:
    """What the table of a sweep looks like, the same for every piece of it."""

    number: int
    level: Level
    axes: Mapping[str, pl.DataType]
    """Path -> type of its column."""
    network: tuple[str, ...]
    layers: tuple[str, ...]
    named: tuple[str, ...]
    """Metrics without a column of their own, the network's first."""
    has_layer_names: bool = False
    """Whether a network's layers have names, which stand beside their numbers."""

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Columns and their types."""
        keys: dict[str, pl.DataType] = {"trial_id": pl.String(), "seed": pl.Int64(), **self.axes}
        keys |= {"step": pl.Int64(), "time": pl.Float64()}
        if self.level == "layer":
            keys["layer"] = pl.Int16()
        if self.has_layer_names:
            keys["layer_name"] = pl.String()
        metrics = (*self.network, *self.layers, *self.named)
        return keys | {name: _type(name) for name in metrics}


def open_sweep(store: Store, public_id: str, level: Level) -> Sweep:
    """Look at every trial's settings for the columns of its sweep. Raises NotFound."""
    with store.read() as connection:
        number = require(connection, public_id)
        axes = connection.scalar(select(experiment.c.axes).where(experiment.c.id == number)) or []
        again = remeasured_in(connection, number)
    values: dict[str, dict[str, Any]] = {path: {} for path in axes}
    measured: set[str] = set(again.metrics)
    is_layer, has_layer_names = level == "layer", False
    for _, documents in _pieces(store, number, _PIECE_TRIALS, None):
        for document in documents.values():
            has_layer_names = has_layer_names or bool(layer_names(document))
            measured.update(names_measured(document["measure"]))
            for path in axes:
                value = setting(document, path)
                # one of each kind decides the type
                values[path].setdefault(type(value).__name__, value)
    return Sweep(
        number,
        level,
        {path: column_type(list(found.values())) for path, found in values.items() if path not in ("seed", "state")},
        tuple(name for name in NETWORK_COLUMNS if name in measured),
        tuple(name for name in LAYER_COLUMNS if name in measured) if is_layer else (),
        _named(measured, is_layer),
        is_layer and has_layer_names,
    )


def _named(measured: Collection[str], is_layer: bool) -> tuple[str, ...]:
    """Metrics without a column: the network's and the layers' as in the registry, then families by parameter."""
    levels = ("network", "layer") if is_layer else ("network",)
    own = [name for name, metric in names.METRICS.items() if name in measured and metric.level in levels]
    own.sort(key=lambda name: levels.index(names.METRICS[name].level))
    families = sorted((name for name in measured if names.family_member(name)), key=_by_parameter)
    families += sorted(name for name in measured if names.split_inputs(name)[1] != names.TRAIN)
    without = [name for name in own if name not in (*NETWORK_COLUMNS, *LAYER_COLUMNS)]
    return (*without, *(families if is_layer else ()))


def pieces(store: Store, sweep: Sweep, most_rows: int | None = None) -> Generator[pl.DataFrame]:
    """The rows of a sweep, ordered by trial (as in the grid), step and layer.

    Args:
        store: where it lies.
        sweep: its columns.
        most_rows: in a piece, unless one trial has more; default: PIECE_ROWS.
    """

    def read(members: Sequence[Member]) -> tuple[pl.DataFrame, ...]:
        with store.read() as connection:
            return _read(connection, sweep, [member.id for member in members])

    most = _AHEAD[store.dialect]
    with ThreadPoolExecutor(most, thread_name_prefix="export") as ahead:
        reading: deque[tuple[list[Member], Mapping[int, Mapping[str, Any]], Future[tuple[pl.DataFrame, ...]]]] = deque()
        for members, documents in _pieces(store, sweep.number, _PIECE_TRIALS, sweep, most_rows or PIECE_ROWS):
            reading.append((members, documents, ahead.submit(read, members)))
            if len(reading) > most:
                # the database works on the next pieces while this one is put together and written
                yield _next(sweep, reading)
        while reading:
            yield _next(sweep, reading)


def _next(sweep: Sweep, reading: deque[Any]) -> pl.DataFrame:
    members, documents, found = reading.popleft()
    return _assembled(sweep, members, documents, *found.result())


def _pieces(store: Store, number: int, most: int, sweep: Sweep | None, most_rows: int = 0) -> _Parts:
    """The trials in order, so many at a time that their rows fit a piece."""
    after = -1
    while True:
        with store.read() as connection:
            members = members_in(connection, [number], after=after, limit=most)
            documents = documents_of(connection, {member.settings_id for member in members})
        if not members:
            return
        after = members[-1].position
        if sweep is None:
            yield members, documents
            continue
        rows = {key: _rows(document, sweep.level) for key, document in documents.items()}
        start = total = 0
        for place, member in enumerate(members):
            total += rows[member.settings_id]
            if total > most_rows and place > start:
                yield members[start:place], documents
                start, total = place, rows[member.settings_id]
        yield members[start:], documents


def _rows(document: Mapping[str, Any], level: Level) -> int:
    """About how many rows a trial has."""
    measure = document["measure"]
    if "steps" in measure:
        points = len(measure["steps"])
    elif "every" in measure:
        points = document["training"].get("steps", 0) // measure["every"] + 1
    else:
        points = measure["points"]
    return (points + 1) * (len(measure["layers"]) if level == "layer" else 1)


def _read(connection: Connection, sweep: Sweep, keys: Sequence[int]) -> tuple[pl.DataFrame, ...]:
    """The network's, the layers' and the named rows of some trials, in any order."""
    rows = measurement.c
    network = _frame(connection, measurement, keys, {"time": rows.time} | {name: rows[name] for name in sweep.network})
    named = layers = pl.DataFrame()
    if sweep.level == "layer":
        rows = layer_measurement.c
        wanted = {"layer": rows.layer} | {name: rows[name] for name in sweep.layers}
        layers = _frame(connection, layer_measurement, keys, wanted)
    if sweep.named:
        rows = parametrised_measurement.c
        place = case({name: number for number, name in enumerate(sweep.named)}, value=rows.name, else_=-1)
        wanted = {"layer": rows.layer, "place": place, "value": rows.value}
        named = _frame(connection, parametrised_measurement, keys, wanted)
    return network, layers, named


def _frame(connection: Connection, table: Table, keys: Sequence[int], columns: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of some trials: id, step and the columns, NaN as null."""
    found = read_columns(connection, table, listed(connection, keys), {"step": table.c.step, **columns})
    whole = {"step": np.int64, "layer": np.int16, "place": np.int32}
    return pl.DataFrame(
        [pl.Series("id", found.pop("trial_id"))]
        + [
            pl.Series(name, array.astype(whole[name])) if name in whole else pl.Series(name, array, nan_to_null=True)
            for name, array in found.items()
        ]
    )


def _assembled(
    sweep: Sweep,
    members: Sequence[Member],
    documents: Mapping[int, Mapping[str, Any]],
    network: pl.DataFrame,
    layers: pl.DataFrame,
    named: pl.DataFrame,
) -> pl.DataFrame:
    """One piece of the table: rows in order, each with what is known of its trial."""
    places = pl.DataFrame({"id": [member.id for member in members], "member": range(len(members))})
    rows = network.join(places, on="id").sort("member", "step")
    if sweep.level == "layer":
        layers = layers.sort("id", "step", "layer")
    for number, name in enumerate(sweep.named):
        own = named.filter(pl.col("place") == number).select("id", "step", "layer", value=pl.col("value"))
        own = own.rename({"value": name})
        if name in names.NETWORK_METRICS:
            rows = rows.join(own.drop("layer"), on=["id", "step"], how="left", maintain_order="left")
        else:
            layers = layers.join(own, on=["id", "step", "layer"], how="left", maintain_order="left")
    if sweep.level == "layer":
        rows = rows.join(layers, on=["id", "step"], how="left", maintain_order="left_right")
    if sweep.has_layer_names:
        called = _layer_names(members, documents)
        rows = rows.join(called, on=["member", "layer"], how="left", maintain_order="left")
    known = _known(sweep, members, documents)[rows["member"]]
    words = {name: found for name in (*sweep.layers, *sweep.named) if (found := words_of(name))}
    rows = rows.with_columns(_worded(rows[name], found) for name, found in words.items())
    return pl.concat([known, rows.drop("id", "member")], how="horizontal").select(
        pl.col(name).cast(kind) for name, kind in sweep.schema.items()
    )


def _known(sweep: Sweep, members: Sequence[Member], documents: Mapping[int, Mapping[str, Any]]) -> pl.DataFrame:
    """What the rows of a trial have in common, a row per trial."""
    ids = [trial_id(member.id) for member in members]
    found = [pl.Series("trial_id", ids, dtype=pl.String), pl.Series("seed", [member.seed for member in members])]
    for path, kind in sweep.axes.items():
        found.append(column(path, [setting(documents[member.settings_id], path) for member in members], kind))
    return pl.DataFrame(found)


def _layer_names(members: Sequence[Member], documents: Mapping[int, Mapping[str, Any]]) -> pl.DataFrame:
    """member, layer, layer_name of every layer that has a name."""
    found = [
        (place, number, name)
        for place, member in enumerate(members)
        for number, name in enumerate(layer_names(documents[member.settings_id]), start=1)
    ]
    kinds = {"member": pl.Int64(), "layer": pl.Int16(), "layer_name": pl.String()}
    return pl.DataFrame(found, schema=kinds, orient="row")


def _worded(codes: pl.Series, words: Sequence[str]) -> pl.Series:
    """Words by their stored places."""
    return pl.Series(words, dtype=pl.String).gather(codes.cast(pl.UInt32)).alias(codes.name)


def _type(metric: str) -> pl.DataType:
    return pl.String() if words_of(metric) else pl.Float64()


def _by_parameter(metric: str) -> tuple[str, float]:
    member = names.family_member(metric)
    return (member.family, member.parameter) if member else (metric, 0.0)
