"""The group-by table of an experiment, and the rows its claims are judged on.

Only completed trials with a defined value enter an aggregate, and every aggregate says how many did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.questions.reductions import Reduction
from service.questions.statistics import columns_of, plain, statistics_of
from service.store.experiments import require
from service.store.members import Group, groups_of, keys_of
from service.store.series import reduced_values
from service.store.session import Store


@dataclass(frozen=True)
class Question:
    """A group-by question; names are checked by the caller."""

    group_by: tuple[str, ...]
    metrics: tuple[str, ...]
    layer: int
    reduction: Reduction
    aggregates: tuple[str, ...]
    where: str = ""


def group_table(store: Store, experiment: str, question: Question, also: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row per group: its keys, `trials`, `incomplete`, and METRIC_AGGREGATE; ordered by the keys.

    With further experiments under `also`, each has groups of its own, told apart by a first key `experiment`.
    """
    with store.read() as connection:
        numbers = [require(connection, one) for one in (experiment, *also)]
        groups = groups_of(connection, numbers, question.group_by, question.where, by_experiment=bool(also))
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
    keys = [*(["experiment"] if also else []), *question.group_by]
    return sorted(table, key=lambda row: tuple(order(row[path]) for path in keys))


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
        found = statistics_of(cells, np.array([value for _, value in pairs], np.float64), len(groups), aggregates)
        columns |= {f"{metric}_{name}": plain(found[name]) for name in columns_of(aggregates)}
    return columns


def order(value: Any) -> tuple[int, Any]:
    """Numbers first, then words, then what has no value."""
    if isinstance(value, bool | int | float):
        return 0, value
    return (2, "") if value is None else (1, str(value))
