"""Groups of very many trials by settings alone, with their final values: counted and packed in the database.

A million trials have some hundred settings. An object for each trial, and a number for each, cost Python twenty times
what the database needs to tell them apart; what comes here is a row per settings, and arrays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection, and_, case, false, func, literal, select
from sqlalchemy.sql import ColumnElement

from service.grid.reading import setting
from service.questions import filters
from service.states import TrialState
from service.store.bulk_reads import fetched, packed, unpacked
from service.store.held_back import is_wanted
from service.store.ids import experiment_id
from service.store.known_settings import documents_of
from service.store.measured_models import final
from service.store.metric_sources import final_column, is_layered
from service.store.models import experiment_trial, trial

_WORK_MEM: Final = "64MB"


class PackedGroup(NamedTuple):
    """Trials of one experiment that agree in the paths of a question."""

    key: dict[str, Any]
    trials: int
    completed: int
    settings: frozenset[int]
    values: dict[str, np.ndarray]
    """By metric: final values of its completed trials by position, those that are undefined left out."""


def are_packed(group_by: Sequence[str], where: str, metrics: Sequence[str]) -> bool:
    """Whether a question reads settings and columns of final values alone."""
    paths = {*group_by, *filters.paths(filters.parse(where))}
    of_settings = not any(path in ("seed", "state") or path.startswith("final.") for path in paths)
    return of_settings and all(final_column(metric) is not None for metric in metrics)


def packed_groups(
    connection: Connection,
    numbers: Sequence[int],
    group_by: Sequence[str],
    where: str,
    metrics: Sequence[str],
    layer: int,
    *,
    by_experiment: bool,
) -> list[PackedGroup] | None:
    """The trials of experiments that pass a filter, by the values of some paths, in order of appearance.

    Args:
        connection: a reading transaction.
        numbers: experiments; several are kept apart, by a first key `experiment`.
        group_by: settings paths.
        where: a filter on settings; blank for all.
        metrics: with a column on `final`.
        layer: whose, for metrics of layers.
        by_experiment: tell experiments apart by that key.
    Returns:
        None where a completed trial's final values are those of another layer: the rest lies with its measurements.
    """
    cells = _cells(connection, numbers, metrics, layer)
    if cells is None:
        return None
    documents = documents_of(connection, {cell.settings_id for cell in cells})
    tree = filters.parse(where)
    found: dict[Any, list[_Cell]] = {}
    for cell in cells:
        document = documents[cell.settings_id]
        if filters.matches(tree, lambda path, of=document: setting(of, path)):
            found.setdefault((cell.experiment, repr([setting(document, path) for path in group_by])), []).append(cell)
    return [
        _group(
            ({"experiment": experiment_id(some[0].experiment)} if by_experiment else {})
            | {path: setting(documents[some[0].settings_id], path) for path in group_by},
            some,
            metrics,
        )
        for some in found.values()
    ]


class _Cell(NamedTuple):
    """Trials of one experiment with the same settings."""

    experiment: int
    settings_id: int
    trials: int
    completed: int
    rows: np.ndarray
    """(completed trials with final values, 1 + metrics): the position, and values with NaN where undefined."""


def _cells(connection: Connection, numbers: Sequence[int], metrics: Sequence[str], layer: int) -> list[_Cell] | None:
    """By experiment and the position of their first trial; None where final values are another layer's."""
    link = experiment_trial.c
    is_completed = and_(trial.c.state == TrialState.COMPLETED, is_wanted(experiment_trial))
    columns: list[ColumnElement[Any]] = [link.position]
    for metric in metrics:
        column = final_column(metric)
        assert column is not None
        columns.append(column)
    is_other = final.c.layer != layer if any(map(is_layered, metrics)) else false()
    rows = packed(connection, columns).filter(and_(is_completed, final.c.trial_id.is_not(None)))
    query = (
        select(
            link.experiment_id,
            trial.c.settings_id,
            func.min(link.position),
            func.count(),
            func.sum(case((is_completed, literal(1)), else_=literal(0))),
            func.sum(case((and_(is_completed, is_other), literal(1)), else_=literal(0))),
            rows,
        )
        .select_from(experiment_trial.join(trial, trial.c.id == link.trial_id))
        .outerjoin(final, final.c.trial_id == trial.c.id)
        .where(link.experiment_id.in_(numbers))
        .group_by(link.experiment_id, trial.c.settings_id)
    )
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL work_mem = '{_WORK_MEM}'")
    told = sorted(fetched(connection, query), key=lambda row: (row[0], row[2]))
    if any(others for *_, others, _ in told):
        return None
    return [
        _Cell(number, key, int(trials), int(completed), unpacked(connection, part or b"", len(columns)))
        for number, key, _, trials, completed, _, part in told
    ]


def _group(key: dict[str, Any], cells: Sequence[_Cell], metrics: Sequence[str]) -> PackedGroup:
    rows = np.concatenate([cell.rows for cell in cells])
    # as they stand in the grid, so that sums of the same numbers are the same number
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    values: Mapping[str, np.ndarray] = {metric: rows[:, place + 1] for place, metric in enumerate(metrics)}
    return PackedGroup(
        key,
        sum(cell.trials for cell in cells),
        sum(cell.completed for cell in cells),
        frozenset(cell.settings_id for cell in cells),
        {metric: column[~np.isnan(column)] for metric, column in values.items()},
    )
