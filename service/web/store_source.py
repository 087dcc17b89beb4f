"""A figure's data, from the store: for pages, which live in the same process."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from service.reductions import parse_reduction
from service.store import curves, phase, results
from service.store.session import Store
from service.web.drawing import BANDS, recorded_exponents

_MOST_POINTS = 200


class StoreSource:
    """The store, asked as the API asks it."""

    def __init__(self, store: Store, experiment: str, grid: Mapping[str, Any]) -> None:
        self.store, self.experiment, self.grid = store, experiment, grid

    def curves(self, metric: str, group_by: Sequence[str], layer: int, where: str) -> pl.DataFrame:
        """Thinned to what a screen shows."""
        question = curves.CurveQuestion(tuple(group_by), metric, layer, BANDS, where, _MOST_POINTS, with_running=True)
        rows: list[dict[str, Any]] = []
        for item in curves.curves(self.store, self.experiment, question):
            keys = {path: _plain(item[path]) for path in group_by}
            series = {name: values for name, values in item.items() if isinstance(values, list) and name not in keys}
            rows += [keys | dict(zip(series, values, strict=True)) for values in zip(*series.values(), strict=True)]
        return pl.DataFrame(rows, infer_schema_length=None)

    def results(self, metrics: Sequence[str], group_by: Sequence[str], layer: int, where: str) -> pl.DataFrame:
        """Of final values."""
        question = results.Question(tuple(group_by), tuple(metrics), layer, parse_reduction("final"), BANDS, where)
        rows = results.group_table(self.store, self.experiment, question)
        return pl.DataFrame(
            [row | {path: _plain(row[path]) for path in group_by} for row in rows], infer_schema_length=None
        )

    def phase(self, x: str, y: str, metric: str, layer: int, where: str) -> Mapping[str, Any]:
        """Means of final values."""
        question = results.Question((x, y), (metric,), layer, parse_reduction("final"), ("mean", "count"), where)
        return phase.phase(self.store, self.experiment, question)

    def exponents(self) -> list[float]:
        """Of the grid's trial block."""
        return recorded_exponents(self.grid)


def _plain(value: Any) -> Any:
    """A value that a column of numbers or words can hold: a list of widths becomes its text."""
    return str(value) if isinstance(value, list) else value
