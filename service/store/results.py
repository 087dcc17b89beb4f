"""The group-by table of an experiment, and the rows its claims are judged on.

Only completed trials with a defined value enter an aggregate, and every aggregate says how many did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from service.grid.value_order import ValueOrder
from service.questions.reductions import Reduction
from service.questions.statistics import columns_of, plain, statistics_of
from service.store.experiments import require, value_order
from service.store.layer_names import Layer, require_layer
from service.store.members import Group, groups_of, keys_of
from service.store.packed_groups import are_packed, packed_groups
from service.store.series import reduced_values
from service.store.session import Store


@dataclass(frozen=True)
class Question:
    """A group-by question; names are checked by the caller."""

    group_by: tuple[str, ...]
    metrics: tuple[str, ...]
    layer: Layer
    reduction: Reduction
    aggregates: tuple[str, ...]
    where: str = ""

    @property
    def is_packed(self) -> bool:
        """Whether it is about settings and final values alone, as most are."""
        is_final = self.reduction.kind == "final" and not isinstance(self.layer, str)
        return is_final and are_packed(self.group_by, self.where, self.metrics)


def group_table(store: Store, experiment: str, question: Question, also: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row per group: its keys, `trials`, `incomplete`, and METRIC_AGGREGATE; ordered by the keys (value_order.py).

    With further experiments under `also`, each has groups of its own, told apart by a first key `experiment`.
    """
    with store.read() as connection:
        numbers = [require(connection, one) for one in (experiment, *also)]
        packed = _packed_table(connection, numbers, question, by_experiment=bool(also)) if question.is_packed else None
        if packed is not None:
            return in_order(packed, question.group_by, value_order(connection, numbers), [experiment, *also])
        groups = groups_of(connection, numbers, question.group_by, question.where, by_experiment=bool(also))
        settings = {member.settings_id for group in groups for member in group.members}
        require_layer(connection, settings, question.metrics, question.layer)
        values = {
            metric: reduced_values(connection, keys_of(numbers), metric, question.layer, question.reduction)
            for metric in question.metrics
        }
        columns = _columns(groups, values, question.aggregates)
        table = [
            {**group.key, "trials": len(group.members), "incomplete": len(group.members) - len(group.completed)}
            | {name: column[place] for name, column in columns.items()}
            for place, group in enumerate(groups)
        ]
        return in_order(table, question.group_by, value_order(connection, numbers), [experiment, *also])


def _packed_table(
    connection: Connection, numbers: Sequence[int], question: Question, *, by_experiment: bool
) -> list[dict[str, Any]] | None:
    """The table, where all that it is about is packed by settings; None where something is not."""
    assert not isinstance(question.layer, str)
    asked = (question.group_by, question.where, question.metrics, question.layer)
    groups = packed_groups(connection, numbers, *asked, by_experiment=by_experiment)
    if groups is None:
        return None
    require_layer(connection, {key for group in groups for key in group.settings}, question.metrics, question.layer)
    columns: dict[str, list[Any]] = {}
    for metric in question.metrics:
        values = [group.values[metric] for group in groups]
        cells = np.repeat(np.arange(len(values)), [len(one) for one in values])
        told = _statistics(metric, cells, np.concatenate([*values, np.empty(0)]), len(groups), question.aggregates)
        columns |= told
    return [
        {**group.key, "trials": group.trials, "incomplete": group.trials - group.completed}
        | {name: column[place] for name, column in columns.items()}
        for place, group in enumerate(groups)
    ]


def _statistics(
    metric: str, cells: np.ndarray, values: np.ndarray, count: int, aggregates: Sequence[str]
) -> dict[str, list[Any]]:
    """METRIC_AGGREGATE -> its value in every group; null where it is undefined."""
    found = statistics_of(cells, values, count, aggregates)
    return {f"{metric}_{name}": plain(found[name]) for name in columns_of(aggregates)}


def _columns(
    groups: Sequence[Group], values: Mapping[str, Mapping[int, float | None]], aggregates: Sequence[str]
) -> dict[str, list[Any]]:
    """METRIC_AGGREGATE -> its value in every group; null where it is undefined."""
    columns: dict[str, list[Any]] = {}
    for metric, by_trial in values.items():
        pairs = [
            (place, value)
            for place, group in enumerate(groups)
            for key in group.completed
            if (value := by_trial.get(key)) is not None
        ]
        cells = np.array([place for place, _ in pairs], np.int64)
        numbers = np.array([value for _, value in pairs], np.float64)
        columns |= _statistics(metric, cells, numbers, len(groups), aggregates)
    return columns


def in_order(
    rows: Sequence[dict[str, Any]], paths: Sequence[str], order: ValueOrder, experiments: Sequence[str]
) -> list[dict[str, Any]]:
    """Groups by experiment, as they were asked for, and by the values of the paths."""
    places = {one: place for place, one in reversed([*enumerate(experiments)])}
    return sorted(
        rows,
        key=lambda row: (places.get(row.get("experiment", ""), 0), *(order.rank(path, row[path]) for path in paths)),
    )
