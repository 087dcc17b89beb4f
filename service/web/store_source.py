"""A figure's data, from the store: for pages, which live in the same process."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from service.grid.value_order import ValueOrder
from service.questions.layers import Layer
from service.questions.pooling import Pooling
from service.questions.reductions import parse_reduction
from service.questions.tables import long_table, table
from service.store import curves, phase, pooling, results
from service.store.found import found_by
from service.store.session import Store
from service.web.drawing import BANDS, recorded_members

MOST_POINTS = 200


class StoreSource:
    """The store, asked as the API asks it."""

    most_points: int | None = None
    """Of all curves of a figure together."""

    def __init__(self, store: Store, experiment: str, grid: Mapping[str, Any]) -> None:
        self.store, self.experiment, self.grid = store, experiment, grid

    def curves(self, metric: str, group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """Thinned to what a screen shows."""
        asked = (tuple(group_by), metric, layer, BANDS, where, MOST_POINTS)
        question = curves.CurveQuestion(*asked, with_running=True, most_points=self.most_points)
        return long_table(curves.curves(self.store, self.experiment, question))

    def results(self, metrics: Sequence[str], group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """Of final values."""
        question = results.Question(tuple(group_by), tuple(metrics), layer, parse_reduction("final"), BANDS, where)
        return table(results.group_table(self.store, self.experiment, question))

    def phase(self, x: str, y: str, metric: str, layer: Layer, where: str) -> Mapping[str, Any]:
        """Means of final values."""
        question = results.Question((x, y), (metric,), layer, parse_reduction("final"), ("mean", "count"), where)
        return phase.phase(self.store, self.experiment, question)

    def found(self) -> Mapping[str, Any]:
        """From what its trials measured."""
        return found_by(self.store, self.experiment)

    def recorded(self) -> list[str]:
        """Of the grid's trial block."""
        return recorded_members(self.grid)

    def pooling(self, group_by: Sequence[str], where: str, *, with_running: bool) -> Pooling:
        """Of the trials that curves and tables average."""
        return pooling.pooled(self.store, self.experiment, group_by, where, with_running=with_running)

    @cached_property
    def order(self) -> ValueOrder:
        """As the grid lists them."""
        return ValueOrder(lambda: [self.grid])
