"""Phase diagrams: a metric over two paths as a matrix, with how many trials each cell has."""

from collections.abc import Sequence
from typing import Any

from service.errors import InvalidRequest
from service.store.experiments import require, value_order
from service.store.results import Question, group_table
from service.store.session import Store

MAX_CELLS = 250_000


def phase(store: Store, experiment: str, question: Question, also: Sequence[str] = ()) -> dict[str, Any]:
    """The matrix of a question that groups by two paths (x, y) and has one metric and one aggregate beside count.

    Returns:
        x, y, their values in order, `values` and `counts` with one row per y (an empty cell is null and 0), what was
        asked; and under `also` the same two matrices of every further experiment, on the same axes.
    Raises:
        InvalidRequest: more cells than a matrix should have.
    """
    x, y = question.group_by
    metric, agg = question.metrics[0], question.aggregates[0]
    rows = group_table(store, experiment, question, also)
    with store.read() as connection:
        order = value_order(connection, [require(connection, one) for one in (experiment, *also)])
        x_values, y_values = (order.sorted(path, [row[path] for row in rows]) for path in (x, y))
    if len(x_values) * len(y_values) > MAX_CELLS:
        raise InvalidRequest(
            f"{x} has {len(x_values)} values and {y} has {len(y_values)}: over {MAX_CELLS} cells; "
            "narrow it with where, or ask /results"
        )
    answer: dict[str, Any] = {"x": x, "y": y, "x_values": x_values, "y_values": y_values}
    places = (
        {repr(value): place for place, value in enumerate(x_values)},
        {repr(value): place for place, value in enumerate(y_values)},
    )
    parts = []
    for one in (experiment, *also):
        own = [row for row in rows if row.get("experiment", one) == one]
        values: list[list[Any]] = [[None] * len(x_values) for _ in y_values]
        counts = [[0] * len(x_values) for _ in y_values]
        for row in own:
            column, line = places[0][repr(row[x])], places[1][repr(row[y])]
            values[line][column] = row[f"{metric}_{agg}"]
            counts[line][column] = row[f"{metric}_count"]
        parts.append({"values": values, "counts": counts})
    answer |= parts[0] | {
        "metric": metric,
        "layer": question.layer,
        "reduce": str(question.reduction),
        "agg": agg,
    }
    if also:
        answer["also"] = [{"experiment": one} | part for one, part in zip(also, parts[1:], strict=True)]
    return answer


def cells(found: dict[str, Any], experiment: str) -> list[dict[str, Any]]:
    """The matrix as a table: one row per cell, and with further experiments a first column that names them."""
    parts = [{"experiment": experiment} | found, *found.get("also", ())]
    name = f"{found['metric']}_{found['agg']}"
    rows = []
    for part in parts:
        first = {"experiment": part["experiment"]} if "also" in found else {}
        for y_value, values, counts in zip(found["y_values"], part["values"], part["counts"], strict=True):
            for x_value, value, count in zip(found["x_values"], values, counts, strict=True):
                rows.append(
                    {**first, found["x"]: x_value, found["y"]: y_value, name: value, f"{found['metric']}_count": count}
                )
    return rows
