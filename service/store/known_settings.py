"""Settings that were read once, kept by each process: they never change under a key in one life of the store.

Restoring a backup hands keys out again, so that what is known is known of one incarnation.
"""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Row, select

from service.grid.reading import LAYERS, setting
from service.store.incarnation import life_of
from service.store.keys import among
from service.store.models import experiment, experiment_trial, settings, trial

_MOST_DOCUMENTS: Final = 20_000
_MOST_EXPERIMENTS: Final = 16
_CHUNK: Final = 5_000
_READ: Final = (settings.c.document, settings.c.layers)


def documents_of(connection: Connection, keys: Collection[int]) -> Mapping[int, Mapping[str, Any]]:
    """Settings by their keys; where layers have names, these stand beside the sections: see `grid.reading`."""
    known = _known_of(connection).documents
    found = {key: document for key in keys if (document := known.get(key)) is not None}
    missing = [key for key in keys if key not in found]
    if missing:
        query = select(settings.c.id, *_READ).where(among(connection, settings.c.id, missing))
        read = {row.id: _document(row) for row in connection.execute(query).all()}
        found |= read
        if len(known) + len(read) > _MOST_DOCUMENTS:
            known.clear()
        known.update(itertools.islice(read.items(), _MOST_DOCUMENTS))
    return {key: found[key] for key in keys}


def _document(row: Row[*tuple[Any, ...]]) -> Mapping[str, Any]:
    return row.document if row.layers is None else row.document | {LAYERS: row.layers}


class SettingsColumns:
    """What the settings of one experiment have under paths, in the order of `keys`."""

    def __init__(self, keys: Sequence[int]) -> None:
        self.keys = list(keys)
        self._columns: dict[str, list[Any]] = {}

    def column(self, connection: Connection, path: str) -> list[Any]:
        """The values under a path, None where the settings have none."""
        found = self._columns.get(path)
        if found is None:
            values: dict[int, Any] = {}
            for start in range(0, len(self.keys), _CHUNK):
                some = self.keys[start : start + _CHUNK]
                query = select(settings.c.id, *_READ).where(among(connection, settings.c.id, some))
                values |= {row.id: setting(_document(row), path) for row in connection.execute(query).all()}
            found = self._columns[path] = [values.get(key) for key in self.keys]
        return found


def settings_of(connection: Connection, number: int) -> SettingsColumns:
    """The settings that an experiment's trials have, as columns; kept while no trial is added."""
    trials = connection.scalar(select(experiment.c.trials).where(experiment.c.id == number)) or 0
    known = _known_of(connection)
    found = known.column_sets.get((number, trials))
    if found is None:
        query = (
            select(trial.c.settings_id)
            .join(experiment_trial, experiment_trial.c.trial_id == trial.c.id)
            .where(experiment_trial.c.experiment_id == number)
            .distinct()
        )
        found = SettingsColumns(sorted(connection.scalars(query)))
        known.keep(number, trials, found)
    return found


class _Known:
    """What is known of one incarnation of a store; threads of a process share it."""

    def __init__(self, life: str | None) -> None:
        self.life = life
        self.documents: dict[int, Mapping[str, Any]] = {}
        self.column_sets: OrderedDict[tuple[int, int], SettingsColumns] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, number: int, trials: int, columns: SettingsColumns) -> None:
        """Keep an experiment's columns, and forget those of the experiment that was asked about longest ago."""
        with self._lock:
            self.column_sets[number, trials] = columns
            while len(self.column_sets) > _MOST_EXPERIMENTS:
                self.column_sets.popitem(last=False)


_stores: WeakKeyDictionary[Engine, _Known] = WeakKeyDictionary()
_stores_lock = threading.Lock()


def _known_of(connection: Connection) -> _Known:
    """What is known of the store's present life, as this transaction sees it; of none while a backup is restored."""
    life = life_of(connection)
    if life is None:
        return _Known(None)
    with _stores_lock:
        known = _stores.get(connection.engine)
        if known is None or known.life != life:
            known = _stores[connection.engine] = _Known(life)
        return known
