"""A bundle's Parquet, checked and turned into what a dispatcher reports: rows by trial, step and layer."""

import mmap
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nfa_kernels import names
from service.datasets.parquet_pages import unpacked_bytes
from service.errors import InvalidBundle, InvalidDataset
from service.grid.inputs import names_measured
from service.store.finals import words_of
from service.store.imports import Rows
from service.store.measured_models import LAYER_COLUMNS, NETWORK_COLUMNS, NETWORK_LAYER

KEYS: Final = ("trial_id", "step", "time", "layer")
_GROUP_ROWS: Final = 5_000_000
_ROW_BYTES: Final = 64
"""More than a row of a column unpacks to: 8 bytes and their levels, or a short word."""
_COLUMNS: Final = 1_000
_UNREADABLE: Final = (pa.ArrowException, OSError, ValueError, IndexError, pl.exceptions.PolarsError, InvalidDataset)


def groups(path: Path, name: str, most_rows: int) -> Iterator[pl.DataFrame]:
    """The row groups of a table, with the columns of KEYS and of metrics alone; whole trials each.

    Args:
        path: where it lies.
        name: what it is called in messages.
        most_rows: more than its trials can have.
    Raises:
        InvalidBundle: no readable table, larger than it says, or not of ours.
    """
    try:
        table = pq.ParquetFile(path, memory_map=True)
        wanted = _columns(table.schema_arrow, name)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check_sizes(table.metadata, content, name, most_rows)
        seen: set[str] = set()
        for number in range(table.metadata.num_row_groups):
            if table.metadata.row_group(number).num_rows == 0:
                continue
            frame = _frame(table, number, wanted)
            _check_rows(frame, seen, name)
            yield frame
    except _UNREADABLE as error:
        raise InvalidBundle(f"{name} is no readable table: {str(error)[:200]}") from error


def _frame(table: pq.ParquetFile, number: int, columns: list[str]) -> pl.DataFrame:
    found: Any = pl.from_arrow(table.read_row_group(number, columns=columns, use_threads=False))
    kinds = {"trial_id": pl.String, "step": pl.Int64, "time": pl.Float64, "layer": pl.Int16}
    texts = {name for name in columns if names.words_of(name)}
    return found.select(
        pl.col(one).cast(kinds.get(one, pl.String if one in texts else pl.Float64), strict=True) for one in columns
    )


def _columns(schema: pa.Schema, name: str) -> list[str]:
    """Those to read: keys and metrics."""
    if missing := [key for key in KEYS if key not in schema.names]:
        raise InvalidBundle(f"{name} has no column {missing[0]}")
    if len(set(schema.names)) < len(schema.names) or len(schema.names) > _COLUMNS:
        raise InvalidBundle(f"{name} has two columns of one name, or more than {_COLUMNS}")
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if (column.name in KEYS or is_metric(column.name)) and (pa.types.is_nested(kind) or _is_odd(kind)):
            raise InvalidBundle(f"{name}: column {column.name[:100]} holds {str(kind)[:50]}, not numbers or words")
    return [*KEYS, *(one for one in schema.names if is_metric(one))]


def _is_odd(kind: pa.DataType) -> bool:
    types = pa.types
    return not (
        types.is_integer(kind) or types.is_floating(kind) or types.is_string(kind) or types.is_large_string(kind)
    )


def is_metric(name: str) -> bool:
    """Whether a column is a metric's, by its name."""
    return names.definition_of(name) is not None


def _check_sizes(metadata: pq.FileMetaData, content: mmap.mmap, name: str, most_rows: int) -> None:
    """Refuse what would unpack to more than its rows need, by its own pages' headers."""
    if metadata.num_rows > most_rows:
        raise InvalidBundle(f"{name} has {metadata.num_rows:,} rows, and its trials can have {most_rows:,} at most")
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if not 0 <= group.num_rows <= _GROUP_ROWS:
            raise InvalidBundle(f"{name} has a group of {group.num_rows:,} rows, over the limit of {_GROUP_ROWS:,}")
        # a group without rows is not read
        for place in range(group.num_columns if group.num_rows else 0):
            chunk = group.column(place)
            start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
            pages: Any = content
            unpacked = unpacked_bytes(pages, start, start + chunk.total_compressed_size)
            if chunk.num_values > group.num_rows or unpacked > group.num_rows * _ROW_BYTES + (1 << 20):
                raise InvalidBundle(f"{name} has a column that unpacks to {unpacked:,} bytes: refused")


def _check_rows(frame: pl.DataFrame, seen: set[str], name: str) -> None:
    """Refuse rows that no trial has: twice, without a step, or of a trial that an earlier group held."""
    own = set(frame["trial_id"].unique().to_list())
    if None in own or own & seen or frame["step"].null_count() or bool((frame["step"] < 0).any()):
        raise InvalidBundle(f"{name} has rows without a trial or a step, or parts a trial's rows")
    if frame.select("trial_id", "step", "layer").is_duplicated().any():
        raise InvalidBundle(f"{name} has a trial's step twice")
    seen |= own


class Again(NamedTuple):
    """What was measured of a trial beyond its settings."""

    metrics: frozenset[str]
    layers: frozenset[int]
    steps: frozenset[int]


def reported(
    frame: pl.DataFrame,
    places: Mapping[str, int],
    measured: Sequence[Mapping[str, Any]],
    again: Mapping[int, Sequence[Again]],
) -> Rows:
    """Some trials' rows as a dispatcher reports them.

    Args:
        frame: with KEYS and metrics.
        places: trial -> lane; rows of others are left out.
        measured: by lane, the `measure` section of its settings.
        again: lane -> what was measured again; of most nothing was.
    """
    lanes = pl.DataFrame(
        {"trial_id": list(places), "lane": list(places.values())}, schema={"trial_id": pl.String, "lane": pl.Int32}
    )
    rows = frame.join(lanes, on="trial_id", how="inner", maintain_order="left").drop("trial_id")
    rows = coded(rows)
    steps = rows.unique(["lane", "step"], keep="first", maintain_order=True)
    layers = rows.filter(pl.col("layer").is_not_null())
    of_network = [name for name in NETWORK_COLUMNS if name in rows.columns]
    of_layers = [name for name in LAYER_COLUMNS if name in rows.columns]
    return Rows(
        _batch(steps.select("lane", "step", "time", *of_network)),
        _batch(layers.select("lane", "step", "layer", *of_layers)),
        _batch(_named(rows, steps, layers, measured, again)),
    )


def _named(
    rows: pl.DataFrame,
    steps: pl.DataFrame,
    layers: pl.DataFrame,
    measured: Sequence[Mapping[str, Any]],
    again: Mapping[int, Sequence[Again]],
) -> pl.DataFrame:
    """Metrics without a column of their own, of the trials that measured them: lane, step, layer, name, value."""
    keys = {"lane": pl.Int32(), "step": pl.Int64(), "layer": pl.Int16(), "name": pl.String(), "value": pl.Float64()}
    schema = pl.Schema(keys)
    parts = [pl.DataFrame(schema=schema)]
    for name in rows.columns:
        if not is_metric(name) or name in (*NETWORK_COLUMNS, *LAYER_COLUMNS):
            continue
        own = [lane for lane, measure in enumerate(measured) if name in asked_of(measure)]
        source = steps if name in names.NETWORK_METRICS else layers
        layer = pl.lit(NETWORK_LAYER) if name in names.NETWORK_METRICS else pl.col("layer")
        kept = source.filter(pl.col("lane").is_in(own))
        columns = (pl.col("lane"), pl.col("step"), layer.alias("layer"), pl.lit(name).alias("name"), pl.col(name))
        parts.append(kept.select(*columns).rename({name: "value"}).cast(schema))
        later = _later(name, set(again).difference(own), again)
        found = source.select(*columns).rename({name: "value"}).cast(schema)
        is_layered = name not in names.NETWORK_METRICS
        parts.append(found.join(later, on=["lane", "step", *(["layer"] if is_layered else [])], how="semi"))
    return pl.concat(parts)


def _later(name: str, lanes: Collection[int], again: Mapping[int, Sequence[Again]]) -> pl.DataFrame:
    """Lanes, steps and layers at which a metric was measured again."""
    places = {
        (lane, step, layer)
        for lane in lanes
        for part in again[lane]
        if name in part.metrics
        for step in part.steps
        for layer in (part.layers or {NETWORK_LAYER})
    }
    schema = {"lane": pl.Int32(), "step": pl.Int64(), "layer": pl.Int16()}
    return pl.DataFrame(sorted(places), schema=schema, orient="row")


def asked_of(measure: Mapping[str, Any]) -> set[str]:
    """Every metric that canonical settings measure, by name."""
    return set(names_measured(measure))


def coded(rows: pl.DataFrame) -> pl.DataFrame:
    """With words as they are stored. Raises InvalidBundle for unknown ones."""
    return rows.with_columns(_coded(rows[name], words) for name in rows.columns if (words := words_of(name)))


def _coded(column: pl.Series, words: Sequence[str]) -> pl.Series:
    """Words as they are stored, by their places. Raises InvalidBundle for an unknown one."""
    if unknown := set(column.drop_nulls().unique().to_list()) - set(words):
        raise InvalidBundle(f"{column.name} has the word {min(unknown)[:40]!a}; there are {', '.join(words)}")
    return column.replace_strict(list(words), [float(place) for place in range(len(words))], return_dtype=pl.Float64)


def _batch(frame: pl.DataFrame) -> pa.RecordBatch:
    """One batch; undefined is NaN, as the kernels report it."""
    filled = frame.with_columns(pl.col(pl.Float64).fill_null(float("nan"))).rechunk()
    table = filled.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
