"""Trials: lists with filter and order, one trial, one trial's series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import and_, null, or_, select
from sqlalchemy.sql import ColumnElement

from nfa_kernels import names
from service.errors import NotFound
from service.grid.reading import layer_number, measured_names
from service.questions import filters
from service.questions.layers import Layer
from service.states import TrialState
from service.store.conditions import condition_of, in_state, order_by, order_by_axes
from service.store.experiments import require, value_order
from service.store.finals import finals_of, word_of
from service.store.held_back import is_wanted
from service.store.ids import trial_number
from service.store.keys import listed
from service.store.known_settings import SettingsColumns, settings_of
from service.store.measured_models import (
    LAYER_COLUMNS,
    NETWORK_COLUMNS,
    NETWORK_LAYER,
    final,
    layer_measurement,
    measurement,
    parametrised_measurement,
)
from service.store.models import experiment as experiment_table
from service.store.models import experiment_trial, trial
from service.store.remeasured import NOTHING, Remeasured, definitions_in, remeasured_of
from service.store.session import Store
from service.store.tallies import tallies
from service.store.trial_rows import TrialRow, trial_by_key, trials_by_key

AXES: Final = "axes"
"""Sorts trials as the groups of a table are sorted."""


@dataclass(frozen=True)
class Trial:
    """A trial with its final values."""

    row: TrialRow
    final: Mapping[str, Any]
    definitions: Mapping[str, int] = field(default_factory=dict)
    """Metric -> version of the definition that its numbers were measured by last; of one trial alone."""
    again: Remeasured = NOTHING
    """What was measured again on kept weights; of one trial alone."""

    @property
    def measured_layers(self) -> dict[int, str | None]:
        """Number of each measured layer -> its name."""
        return measured_names(self.row.settings, self.again.layers)


class After(NamedTuple):
    """Where a page ended: what its last trial was sorted by, and its position in the grid."""

    value: float | int | None
    position: int


def list_trials(
    store: Store, experiment: str, *, state: str | None, where: str, sort: str | None, limit: int, after: After | None
) -> tuple[list[Trial], After | None]:
    """Trials of an experiment in order, and where to go on from (null at the end).

    Args:
        store: where they are.
        experiment: public id.
        state: only trials in this state.
        where: filter expression; blank for all.
        sort: path, or -path for descending; AXES; None for the grid's order. Undefined values come last, ties by
            position.
        limit: at most so many.
        after: where the page before ended; None to begin.
    """
    tree = filters.parse(where)
    with store.read() as connection:
        number = require(connection, experiment)
        link = experiment_trial.c
        # of the grid's order, unfiltered, no settings are looked at
        is_plain = sort is None and tree == filters.EVERYTHING
        known = SettingsColumns([]) if is_plain else settings_of(connection, number)
        order = value_order(connection, [number])
        rows = experiment_trial.join(trial, trial.c.id == link.trial_id)
        value: ColumnElement[Any] = null()
        is_descending = False
        ranked: Any = None
        if sort == AXES:
            axes = connection.scalar(select(experiment_table.c.axes).where(experiment_table.c.id == number)) or []
            settled = [path for path in axes if path != "seed"]
            value, ranked = order_by_axes(connection, settled, known, order)
        elif sort is not None:
            path, is_down = sort.removeprefix("-"), sort.startswith("-")
            value, ranked, is_descending = order_by(connection, path, known, order, is_descending=is_down)
        if ranked is not None:
            rows = rows.outerjoin(ranked, ranked.c.key == trial.c.settings_id)
        if sort not in (None, AXES) or tree != filters.EVERYTHING:
            rows = rows.outerjoin(final, final.c.trial_id == trial.c.id)
        query = (
            select(link.trial_id, link.position, is_wanted(experiment_trial).label("wanted"), value.label("value"))
            .select_from(rows)
            .where(link.experiment_id == number, condition_of(connection, tree, known))
            .limit(limit + 1)
        )
        if state is not None:
            if not tallies(connection, [number])[number].counts[TrialState(state)]:
                return [], None
            query = query.where(in_state([state]))
        if sort is not None:
            query = query.order_by(value.is_(None), value.desc() if is_descending else value.asc())
        if after is not None:
            query = query.where(_beyond(value, after, is_descending) if sort is not None else link.position > after[1])
        picked = connection.execute(query.order_by(link.position)).all()
        page = picked[:limit]
        found = trials_by_key(connection, {row.trial_id: (row.position, bool(row.wanted)) for row in page})
        finals = finals_of(connection, listed(connection, [row.trial_id for row in page]))
    following = After(page[-1].value, page[-1].position) if len(picked) > limit else None
    return [Trial(found[row.trial_id], finals.get(row.trial_id, {})) for row in page], following


def _beyond(value: ColumnElement[Any], after: After, is_descending: bool) -> ColumnElement[bool]:
    """Rows that come after one, undefined values last."""
    later = experiment_trial.c.position > after.position
    if after.value is None:
        return and_(value.is_(None), later)
    further = value < after.value if is_descending else value > after.value
    return or_(further, value.is_(None), and_(value == after.value, later))


def get_trial(store: Store, public_id: str) -> Trial:
    """One trial. Raises NotFound."""
    key = trial_number(public_id)
    with store.read() as connection:
        row = trial_by_key(connection, key)
        if row is None:
            raise NotFound(f"no trial {public_id}: GET /experiments/ID/trials lists an experiment's")
        finals = finals_of(connection, listed(connection, [key])).get(key, {})
        return Trial(row, finals, definitions_in(connection, key), remeasured_of(connection, key))


def trial_series(
    store: Store, public_id: str, metrics: Sequence[str] | None, layer: Layer | None, max_points: int | None
) -> dict[str, list[Any]]:
    """Columns of one trial's measurements, by step.

    Args:
        store: where they are.
        public_id: of the trial.
        metrics: which; None for every measured one of the network and, with `layer`, of that layer.
        layer: whose metrics stand beside the network's; by number or name.
        max_points: thin to so many rows, evenly spread, first and last kept; None for all.
    """
    one = get_trial(store, public_id)
    number = None if layer is None else _measured_layer(one, layer)
    measured = dict.fromkeys([*one.row.settings["measure"]["metrics"], *sorted(one.again.metrics)])
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
        if number is not None:
            columns |= _layer_columns(connection, one.row.id, number, layered, columns["step"])
        columns |= _named_columns(connection, one.row.id, number, metrics, columns["step"])
    kept = spread(len(rows), max_points)
    return {name: [values[place] for place in kept] for name, values in columns.items()}


def _measured_layer(one: Trial, layer: Layer) -> int:
    """The number of a measured layer. Raises NotFound for one that is not."""
    number = layer_number(one.row.settings, layer)
    if number is None or number not in one.measured_layers:
        told = ", ".join(f"{at} ({name})" if name else str(at) for at, name in one.measured_layers.items())
        raise NotFound(f"layer {layer} was not measured: {told} were, as the trial's settings say under measure.layers")
    return number


def _layer_columns(
    connection: Any, key: int, layer: int, metrics: Sequence[str], steps: Sequence[int]
) -> dict[str, list[Any]]:
    rows = connection.execute(
        select(layer_measurement.c.step, *(layer_measurement.c[name] for name in metrics)).where(
            layer_measurement.c.trial_id == key, layer_measurement.c.layer == layer
        )
    )
    by_step = {row.step: row._mapping for row in rows}
    return {
        name: [word_of(name, by_step[step][name]) if step in by_step else None for step in steps] for name in metrics
    }


def _named_columns(
    connection: Any, key: int, layer: int | None, wanted: Sequence[str] | None, steps: Sequence[int]
) -> dict[str, list[Any]]:
    """Metrics without a column of their own: the network's, and those of a layer."""
    table = parametrised_measurement
    rows = connection.execute(
        select(table.c.step, table.c.name, table.c.value)
        .where(table.c.trial_id == key, table.c.layer.in_([NETWORK_LAYER] if layer is None else [NETWORK_LAYER, layer]))
        .order_by(table.c.layer, table.c.name)
    )
    found: dict[str, dict[int, float | None]] = {}
    for row in rows:
        if wanted is None or row.name in wanted:
            found.setdefault(row.name, {})[row.step] = row.value
    return {name: [word_of(name, values.get(step)) for step in steps] for name, values in found.items()}


def spread(count: int, most: int | None) -> list[int]:
    """Places of at most `most` of `count` rows, evenly spread, the first and the last among them."""
    if most is None or count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})
