"""The trials next to one in the grid of an experiment: along each axis, and with other seeds."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from service.grid.axes import moving_together
from service.grid.value_order import ValueOrder
from service.store.experiments import require, value_order
from service.store.ids import trial_id, trial_number
from service.store.keys import among
from service.store.known_settings import settings_of
from service.store.models import experiment, experiment_trial, trial
from service.store.session import Store


class Neighbour(NamedTuple):
    """A trial that differs in one axis."""

    id: str
    value: Any


class Neighbours(NamedTuple):
    """Along one axis, or over seeds: the trials before and behind, None at the ends."""

    path: str
    before: Neighbour | None
    value: Any
    behind: Neighbour | None


def neighbours(store: Store, public_id: str, trial_public_id: str) -> list[Neighbours]:
    """One entry for each axis along which an experiment has a next trial of the same seed, and one for seeds.

    Axes that move with another are not looked at by themselves. Raises NotFound for another experiment.
    """
    key = trial_number(trial_public_id)
    with store.read() as connection:
        number = require(connection, public_id)
        known, order = settings_of(connection, number), value_order(connection, [number])
        row = connection.execute(select(experiment.c.axes, experiment.c.grid).where(experiment.c.id == number)).one()
        this = connection.execute(select(trial.c.settings_id, trial.c.seed).where(trial.c.id == key)).one_or_none()
        if this is None or this.settings_id not in known.keys:
            return []
        paths = [path for path in row.axes if path not in (*moving_together(row.grid), "seed")]
        columns = {path: known.column(connection, path) for path in paths}
        place = known.keys.index(this.settings_id)
        beside = {path: _beside(path, columns, place, order) for path in paths}
        wanted = {known.keys[at] for pair in beside.values() for at in pair if at is not None} | {this.settings_id}
        found = _trials(connection, number, wanted)
    entries = []
    for path, pair in beside.items():
        ends = [
            None
            if at is None or (own := found.get((known.keys[at], this.seed))) is None
            else Neighbour(trial_id(own), columns[path][at])
            for at in pair
        ]
        entries.append(Neighbours(path, ends[0], columns[path][place], ends[1]))
    seeds = sorted(seed for settings_id, seed in found if settings_id == this.settings_id)
    near = (
        max((seed for seed in seeds if seed < this.seed), default=None),
        min((seed for seed in seeds if seed > this.seed), default=None),
    )
    before, behind = (
        None if seed is None else Neighbour(trial_id(found[this.settings_id, seed]), seed) for seed in near
    )
    entries.append(Neighbours("seed", before, this.seed, behind))
    return [entry for entry in entries if entry.before or entry.behind]


def _beside(path: str, columns: dict[str, list[Any]], place: int, order: ValueOrder) -> tuple[int | None, int | None]:
    """Places of the settings before and behind one along a path, among those that agree with it in all other paths."""
    others = [column for other, column in columns.items() if other != path]
    own = [repr(column[place]) for column in others]
    ranks = {
        at: order.rank(path, columns[path][at])
        for at in range(len(columns[path]))
        if all(repr(column[at]) == value for column, value in zip(others, own, strict=True))
    }
    here = ranks[place]
    before = max((at for at in ranks if ranks[at] < here), key=ranks.__getitem__, default=None)
    behind = min((at for at in ranks if ranks[at] > here), key=ranks.__getitem__, default=None)
    return before, behind


def _trials(connection: Connection, number: int, settings: set[int]) -> dict[tuple[int, int], int]:
    """(settings, seed) -> key of an experiment's trials that have one of these settings."""
    query = (
        select(trial.c.settings_id, trial.c.seed, trial.c.id)
        .join(experiment_trial, experiment_trial.c.trial_id == trial.c.id)
        .where(experiment_trial.c.experiment_id == number, among(connection, trial.c.settings_id, settings))
    )
    return {(row.settings_id, row.seed): row.id for row in connection.execute(query)}
