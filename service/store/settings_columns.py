"""The settings of an experiment's trials as columns, kept between questions while no trial is added."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, select

from service.store.keys import among
from service.store.models import experiment, experiment_trial, settings, trial
from service.store.readings import setting

_MOST_EXPERIMENTS: Final = 16
_CHUNK: Final = 5_000


class SettingsColumns:
    """What the settings of one experiment have under paths, in the order of `keys`."""

    def __init__(self, keys: Sequence[int]) -> None:
        self.keys = list(keys)
        self._columns: dict[str, list[Any]] = {}

    def column(self, connection: Connection, path: str) -> list[Any]:
        """The values under a path, None where the settings have none."""
        if path not in self._columns:
            values: dict[int, Any] = {}
            for start in range(0, len(self.keys), _CHUNK):
                some = self.keys[start : start + _CHUNK]
                query = select(settings.c.id, settings.c.document).where(among(connection, settings.c.id, some))
                values |= {row.id: setting(row.document, path) for row in connection.execute(query).all()}
            self._columns[path] = [values.get(key) for key in self.keys]
        return self._columns[path]


_known: WeakKeyDictionary[Engine, OrderedDict[tuple[int, int], SettingsColumns]] = WeakKeyDictionary()


def settings_of(connection: Connection, number: int) -> SettingsColumns:
    """The settings that an experiment's trials have."""
    trials = connection.scalar(select(experiment.c.trials).where(experiment.c.id == number)) or 0
    known = _known.setdefault(connection.engine, OrderedDict())
    found = known.get((number, trials))
    if found is None:
        query = (
            select(trial.c.settings_id)
            .join(experiment_trial, experiment_trial.c.trial_id == trial.c.id)
            .where(experiment_trial.c.experiment_id == number)
            .distinct()
        )
        found = SettingsColumns(sorted(connection.scalars(query)))
        known[number, trials] = found
        while len(known) > _MOST_EXPERIMENTS:
            known.popitem(last=False)
    return found
