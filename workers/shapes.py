"""Sizes of the data of trials, those of uploads too, and what follows from them for their stacks."""

import math
from collections.abc import Mapping
from typing import Any

from service.grid import cost
from service.grid.data_settings import DataSettings
from service.grid.data_shapes import DataShape, data_shape
from service.store import datasets
from service.store.session import Store

_MOST_KNOWN = 1_000


class Shapes:
    """Looks shapes of uploads up in the store, once each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, DataShape | None] = {}

    def of(self, settings: Mapping[str, Any]) -> DataShape | None:
        """The shape of a trial's data; None where its upload is gone, or is not what its settings take it for."""
        data = settings["data"]
        if data["kind"] != "uploaded":
            return cost.shape_of(settings)
        key = repr(sorted(data.items()))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._look_up(settings)
        return self._known[key]

    def _look_up(self, settings: Mapping[str, Any]) -> DataShape | None:
        found = datasets.dataset_shapes(self._store, datasets.dataset_ids([settings]))
        try:
            shape = data_shape(DataSettings.model_validate(settings["data"]), found)
        except (LookupError, ValueError):
            return None
        return shape if isinstance(shape, DataShape) else None


def allowed_seconds(
    settings: Mapping[str, Any], shape: DataShape | None, lanes: int, *, factor: float, deadline: float
) -> float:
    """How long a stack may send nothing though its trainer answers.

    Args:
        settings: canonical, of one of its lanes.
        shape: of its data; without it nothing is known of its steps, and the deadline stands in for them.
        lanes: of the stack.
        factor: times what its start, a step and a measurement should take together.
        deadline: after which silence is looked into, and never less, seconds.
    """
    expected = deadline if shape is None else cost.longest_silence(settings, shape, lanes)
    return max(deadline, factor * expected) if math.isfinite(expected) else deadline
