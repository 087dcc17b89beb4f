"""Trials: lists with filter and order, one trial, one trial's series."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from nfa_kernels import names
from service import filters
from service.errors import NotFound
from service.store.experiments import require
from service.store.ids import trial_number
from service.store.models import (
    LAYER_COLUMNS,
    NETWORK_COLUMNS,
    layer_measurement,
    measurement,
    parametrised_measurement,
)
from service.store.readings import TrialRow, finals_of, lookup_of, members_of, only, trial_by_key, trials_of, word_of
from service.store.session import Store

_CHUNK = 1000


@dataclass(frozen=True)
class Trial:
    """A trial with its final values."""

    row: TrialRow
    final: Mapping[str, Any]


def list_trials(
    store: Store, experiment: str, *, state: str | None, where: str, sort: str | None, limit: int, after: int
) -> tuple[list[Trial], int | None]:
    """Trials of an experiment in order, and the key to go on from (null at the end).

    Args:
        store: where they are.
        experiment: public id.
        state: only trials in this state.
        where: filter expression; blank for all.
        sort: path, or -path for descending; None for the grid's order. Undefined values come last.
        limit: at most so many.
        after: the key of the last trial seen; -1 to begin.
    """
    tree = filters.parse(where)
    with store.read() as connection:
        number = require(connection, experiment)
        if sort is None:
            return _in_order(connection, number, tree, state, limit, after)
        finals = finals_of(connection, members_of(number))
        found = [
            Trial(row, finals.get(row.id, {}))
            for row in trials_of(connection, number)
            if state in (None, row.state) and filters.matches(tree, lookup_of(row, finals.get(row.id, {})))
        ]
    found.sort(key=lambda one: one.row.position)
    path, is_descending = sort.removeprefix("-"), sort.startswith("-")
    found.sort(key=lambda one: _sort_key(lookup_of(one.row, one.final)(path), is_descending))
    page = found[after + 1 : after + 1 + limit]
    return page, after + limit if after + 1 + limit < len(found) else None


def _in_order(
    connection: Any, number: int, tree: filters.Filter, state: str | None, limit: int, after: int
) -> tuple[list[Trial], int | None]:
    """The next page in the grid's order, looking at chunks of trials until it is full."""
    page: list[Trial] = []
    while True:
        rows = trials_of(connection, number, after=after, limit=_CHUNK)
        finals = finals_of(connection, only(row.id for row in rows))
        for row in rows:
            one = Trial(row, finals.get(row.id, {}))
            if state in (None, row.state) and filters.matches(tree, lookup_of(row, one.final)):
                if len(page) == limit:
                    return page, page[-1].row.position
                page.append(one)
        if len(rows) < _CHUNK:
            return page, None
        after = rows[-1].position


def _sort_key(value: Any, is_descending: bool) -> tuple[bool, bool, Any]:
    """Order numbers before words and undefined last, in either direction."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True, True, 0
    if isinstance(value, bool | int | float):
        return False, False, -value if is_descending else value
    text = str(value)
    return False, True, tuple(-ord(letter) for letter in text) if is_descending else text


def get_trial(store: Store, public_id: str) -> Trial:
    """One trial. Raises NotFound."""
    key = trial_number(public_id)
    with store.read() as connection:
        row = trial_by_key(connection, key)
        if row is None:
            raise NotFound(f"no trial {public_id}: GET /experiments/ID/trials lists an experiment's")
        return Trial(row, finals_of(connection, only([key])).get(key, {}))


def trial_series(
    store: Store, public_id: str, metrics: Sequence[str] | None, layer: int | None, max_points: int | None
) -> dict[str, list[Any]]:
    """Columns of one trial's measurements, by step.

    Args:
        store: where they are.
        public_id: of the trial.
        metrics: which; None for every measured one of the network and, with `layer`, of that layer.
        layer: whose metrics stand beside the network's.
        max_points: thin to so many rows, evenly spread, first and last kept; None for all.
    """
    one = get_trial(store, public_id)
    measured = one.row.settings["measure"]["metrics"]
    chosen = [name for name in (metrics or measured) if name in names.METRICS]
    network = [name for name in NETWORK_COLUMNS if name in chosen]
    layered = [name for name in LAYER_COLUMNS if name in chosen] if layer is not None else []
    with store.read() as connection:
        rows = connection.execute(
            select(measurement.c.step, measurement.c.time, *(measurement.c[name] for name in network))
            .where(measurement.c.trial_id == one.row.id)
            .order_by(measurement.c.step)
        ).all()
        columns: dict[str, list[Any]] = {"step": [row.step for row in rows], "time": [row.time for row in rows]}
        columns |= {name: [row._mapping[name] for row in rows] for name in network}
        if layer is not None:
            columns |= _layer_columns(connection, one.row.id, layer, layered, columns["step"])
            columns |= _parametrised_columns(connection, one.row.id, layer, metrics, columns["step"])
    kept = spread(len(rows), max_points)
    return {name: [values[place] for place in kept] for name, values in columns.items()}


def _layer_columns(
    connection: Any, key: int, layer: int, metrics: Sequence[str], steps: Sequence[int]
) -> dict[str, list[Any]]:
    rows = connection.execute(
        select(layer_measurement.c.step, *(layer_measurement.c[name] for name in metrics)).where(
            layer_measurement.c.trial_id == key, layer_measurement.c.layer == layer
        )
    )
    by_step = {row.step: row._mapping for row in rows}
    if not by_step and steps:
        raise NotFound(f"layer {layer} was not measured: see the trial's settings under measure.layers")
    return {
        name: [word_of(name, by_step[step][name]) if step in by_step else None for step in steps] for name in metrics
    }


def _parametrised_columns(
    connection: Any, key: int, layer: int, wanted: Sequence[str] | None, steps: Sequence[int]
) -> dict[str, list[Any]]:
    table = parametrised_measurement
    rows = connection.execute(
        select(table.c.step, table.c.name, table.c.value)
        .where(table.c.trial_id == key, table.c.layer == layer)
        .order_by(table.c.name)
    )
    found: dict[str, dict[int, float | None]] = {}
    for row in rows:
        if wanted is None or row.name in wanted:
            found.setdefault(row.name, {})[row.step] = row.value
    return {name: [values.get(step) for step in steps] for name, values in found.items()}


def spread(count: int, most: int | None) -> list[int]:
    """Places of at most `most` of `count` rows, evenly spread, the first and the last among them."""
    if most is None or count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})
