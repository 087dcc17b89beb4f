"""Values of any kind as table columns: one type per column, the same in CSV, Arrow, Parquet and data frames. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from nfa_kernels import names


def column_type(values: Sequence[Any]) -> pl.DataType:
    """Boolean, whole number, number, or text where kinds are mixed; nothing but nulls are numbers."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.Float64()
    if kinds == {bool}:
        return pl.Boolean()
    if kinds == {int}:
        return pl.Int64()
    return pl.Float64() if kinds <= {int, float} else pl.String()


def column(name: str, values: Sequence[Any], type_: pl.DataType | None = None) -> pl.Series:
    """A column of one type; in a text column, what is no text is written as JSON."""
    type_ = type_ or column_type(values)
    if type_ == pl.String:
        values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series(name, values, dtype=type_, strict=False)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A row per mapping; columns in the order of their first appearance, or as given."""
    known = list(columns or dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame([column(name, [row.get(name) for row in rows], _statistic_type(name)) for name in known])


def series_table(columns: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """A trial's series; a column's type follows from its name alone, so that tables of several trials stack."""
    return pl.DataFrame([column(name, values, _series_type(name)) for name, values in columns.items()])


def _statistic_type(name: str) -> pl.DataType | None:
    """Of a column of results or curves whose name alone says it: counts and METRIC_agg; None for keys."""
    if name in ("step", "trials", "incomplete"):
        return pl.Int64()
    metric, _, agg = name.rpartition("_")
    if names.definition_of(metric) is None:
        return pl.Float64() if name == "time" else None
    return pl.Int64() if agg == "count" else pl.Float64()


def _series_type(name: str) -> pl.DataType:
    if name == "step":
        return pl.Int64()
    return pl.String() if names.words_of(name) else pl.Float64()


def long_table(items: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """A row per group and step: what stands before `step` in an item belongs to every row, the rest are columns."""
    known = list(dict.fromkeys(name for item in items for name in item))
    if not known:
        return pl.DataFrame()
    first = known.index("step")
    series = [
        column(name, [value for item in items for value in item[name]], _statistic_type(name)) for name in known[first:]
    ]
    lengths = [len(item["step"]) for item in items]
    fixed = table(items, known[:first])[np.repeat(np.arange(len(items)), lengths)]
    return pl.concat([fixed, pl.DataFrame(series)], how="horizontal")
