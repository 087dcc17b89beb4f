"""The results table of a page: which columns, in which order, how shaded. Pure but for its dependency.

All of it stands in the address, so that a table can be sent to somebody else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from pydantic import BeforeValidator

from service.api.query_names import AGGREGATES, known_aggregates, known_reduction, numeric_metrics
from service.grid.value_order import ValueOrder
from service.questions.layers import Layer, LayerText
from service.questions.pooling import short_names
from service.questions.reductions import parse_reduction
from service.questions.statistics import columns_of
from service.store.results import Question
from service.web.figures.curves import LOGARITHMIC

DEFAULT_AGGREGATES: Final = "mean,std,min,max,count"
OFFERED_AGGREGATES: Final = tuple(name for name in AGGREGATES if name != "ci95")
INCOMPLETE: Final = "incomplete"
SHADES: Final = 8
"""Steps of shading, from 0 for the least value of a column; the style sheet has a class for each."""


@dataclass(frozen=True)
class TableChoices:
    """What a results table shows; empty: as the figure above it, or everything."""

    metric: str = ""
    layer: Layer | None = None
    reduce: str = "final"
    agg: str = DEFAULT_AGGREGATES
    hide: tuple[str, ...] = ()
    order: str = ""
    shade: bool = False

    def as_query(self) -> dict[str, Any]:
        """As parameters of an address, without those that are as they are by themselves."""
        own = {"table_metric": self.metric, "table_layer": self.layer, "order": self.order}
        own |= {"reduce": "" if self.reduce == "final" else self.reduce, "hide": ",".join(self.hide)}
        return own | {"agg": "" if self.agg == DEFAULT_AGGREGATES else self.agg, "shade": "true" if self.shade else ""}


def table_choices(
    table_metric: Annotated[str, Query(max_length=1000)] = "",
    table_layer: Annotated[LayerText | None, BeforeValidator(lambda text: text or None), Query()] = None,
    reduce: Annotated[str, Query(max_length=100)] = "final",
    agg: Annotated[list[str] | None, Query(max_length=40)] = None,
    hide: Annotated[list[str] | None, Query(max_length=200)] = None,
    order: Annotated[str, Query(max_length=300)] = "",
    shade: bool = False,
) -> TableChoices:
    """A table's choices, as they stand in an address; lists by commas or as a parameter each."""
    reduction = known_reduction(reduce or "final")
    chosen = known_aggregates(",".join(agg or ())) or DEFAULT_AGGREGATES.split(",")
    hidden = tuple(dict.fromkeys(part.strip() for one in hide or () for part in one.split(",") if part.strip()))
    return TableChoices(table_metric, table_layer, str(reduction), ",".join(chosen), hidden, order, shade)


TableAsked = Annotated[TableChoices, Depends(table_choices)]


@dataclass(frozen=True)
class Column:
    """A column: of a setting, or of an aggregate of a metric."""

    key: str
    """In an address: a path, an aggregate, or with several metrics METRIC_AGGREGATE."""
    field: str
    """In a row."""
    title: str
    says: str
    is_number: bool
    shade_by_log: bool | None
    """None: never shaded."""
    is_hidden: bool
    sorted: str
    """ascending, descending, or empty."""
    order: str
    """What `order` is after a click on the head."""


@dataclass(frozen=True)
class Cell:
    """A value and its shade, None for none."""

    value: Any
    shade: int | None = None


@dataclass(frozen=True)
class ShownTable:
    """Columns and rows as a page shows them."""

    columns: list[Column]
    """Also the hidden ones, which a page offers to show again."""
    rows: list[list[Cell]]
    """Cells of the columns that are not hidden."""
    left_out: int
    problem: str
    """Why it is not sorted as it was asked for, if it is not."""

    @property
    def seen(self) -> list[Column]:
        """Columns that are not hidden."""
        return [one for one in self.columns if not one.is_hidden]


def question_of(axes: Sequence[str], chosen: TableChoices, figure: Mapping[str, Any]) -> Question:
    """What the table asks the store; what is left open is as in the figure."""
    return Question(
        tuple(axes),
        tuple(numeric_metrics(chosen.metric or figure["metric"])),
        chosen.layer or figure["layer"],
        parse_reduction(chosen.reduce),
        tuple(chosen.agg.split(",")),
        figure["where"],
    )


def shown_table(
    groups: Sequence[Mapping[str, Any]], question: Question, chosen: TableChoices, order: ValueOrder, most: int
) -> ShownTable:
    """The table of some groups: sorted, without what is hidden, shaded.

    Args:
        groups: rows of group_table, in their own order.
        question: what was asked.
        chosen: what is shown of it.
        order: of the settings' values.
        most: rows.
    """
    columns = _columns(question, chosen)
    by = next((one for one in columns if one.sorted), None)
    rows = _sorted(groups, by, order) if by else [*groups]
    seen = [one for one in columns if not one.is_hidden]
    spans = {one.key: _span(rows, one) for one in seen if chosen.shade and one.shade_by_log is not None}
    cells = [
        [Cell(row[one.field], _shade(row[one.field], one, spans.get(one.key))) for one in seen] for row in rows[:most]
    ]
    return ShownTable(columns, cells, max(0, len(rows) - most), "" if by else _unsorted(chosen.order, columns))


def _unsorted(asked: str, columns: Sequence[Column]) -> str:
    """What is wrong with an order that names no column: it may have been one before something else was chosen."""
    if not asked:
        return ""
    return (
        f"Not sorted: there is no column {asked.removeprefix('-')[:100]}; there are "
        f"{', '.join(one.key for one in columns)}, with a minus in front from the largest down."
    )


def _columns(question: Question, chosen: TableChoices) -> list[Column]:
    """Settings, aggregates of every metric, and how many trials are missing."""
    path_of = dict(zip(question.group_by, short_names(question.group_by), strict=True))
    found: list[tuple[str, str, str, str, bool, bool | None]] = [
        (path, path, short, path, False, None) for path, short in path_of.items()
    ]
    is_alone = len(question.metrics) == 1
    for metric in question.metrics:
        for name in columns_of(question.aggregates):
            key, title = (name, name) if is_alone else (f"{metric}_{name}", f"{metric} {name}")
            by_log = None if name == "count" else metric in LOGARITHMIC and name != "std"
            found.append((key, f"{metric}_{name}", title, f"{name} of {metric}", True, by_log))
    found.append((INCOMPLETE, INCOMPLETE, INCOMPLETE, "trials that have not completed", True, None))
    by, is_down = chosen.order.removeprefix("-"), chosen.order.startswith("-")
    return [
        Column(
            *(key, field, title, says, is_number, by_log, key in chosen.hide),
            sorted=("descending" if is_down else "ascending") if key == by else "",
            order=("" if is_down else f"-{key}") if key == by else key,
        )
        for key, field, title, says, is_number, by_log in found
    ]


def _sorted(groups: Sequence[Mapping[str, Any]], by: Column, order: ValueOrder) -> list[Mapping[str, Any]]:
    """By a column, what has no value last whichever way; ties as they were."""
    known = [row for row in groups if row[by.field] is not None]
    known.sort(key=lambda row: order.rank(by.field, row[by.field]), reverse=by.sorted == "descending")
    return known + [row for row in groups if row[by.field] is None]


def _span(rows: Sequence[Mapping[str, Any]], column: Column) -> tuple[float, float] | None:
    """The least and largest value of a column, of all rows, as they are shaded."""
    places = [place for row in rows if (place := _place(row[column.field], column)) is not None]
    return (min(places), max(places)) if places else None


def _place(value: Any, column: Column) -> float | None:
    """Where a value stands on the scale of its shading."""
    if value is None or (column.shade_by_log and value <= 0):
        return None
    return math.log(value) if column.shade_by_log else float(value)


def _shade(value: Any, column: Column, span: tuple[float, float] | None) -> int | None:
    place = None if span is None else _place(value, column)
    if span is None or place is None or span[0] == span[1]:
        return None
    return min(SHADES - 1, int(SHADES * (place - span[0]) / (span[1] - span[0])))
