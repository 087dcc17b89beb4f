"""The figures of an experiment that can be drawn, each as PDF and as the Vega-Lite it is drawn from."""

import contextlib
import ctypes
import gc
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from service.errors import QuestionTooLarge
from service.questions.layers import Layer
from service.store.experiments import Experiment
from service.store.session import Store
from service.web import charting, figures
from service.web.drawing import FIGURES, NothingToDraw, draw
from service.web.figure_pages import choices, wish_of
from service.web.store_source import StoreSource

MOST_POINTS: Final = 1_500
"""Of a figure: every point takes ten kilobytes of the process that draws it, and a printed page shows no more."""
MOST_LINES: Final = 500
MOST_CELLS: Final = 2_500


class Picture(NamedTuple):
    """One figure."""

    name: str
    specification: bytes
    pdf: bytes


class _InPrint(StoreSource):
    """The store, asked for as much as a printed figure shows, however large the experiment is."""

    def __init__(self, store: Store, one: Experiment) -> None:
        super().__init__(store, one.id, one.grid)
        # the curves of a spectrum, one for each singular value, share a figure
        values = sum(name.startswith("agop_singular_value@") for name in self.recorded())
        self.most_points = MOST_POINTS // max(1, values)

    def curves(self, metric: str, group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """Thinned to what print shows."""
        return _few(super().curves(metric, group_by, layer, where), group_by)

    def results(self, metrics: Sequence[str], group_by: Sequence[str], layer: Layer, where: str) -> pl.DataFrame:
        """Of final values."""
        return _few(super().results(metrics, group_by, layer, where), group_by)

    def phase(self, x: str, y: str, metric: str, layer: Layer, where: str) -> Mapping[str, Any]:
        """Means of final values."""
        found = super().phase(x, y, metric, layer, where)
        if len(found["x_values"]) * len(found["y_values"]) > MOST_CELLS:
            raise NothingToDraw(f"more cells than can be read, {MOST_CELLS:,}")
        return found


def _few(table: pl.DataFrame, group_by: Sequence[str]) -> pl.DataFrame:
    known = [path for path in group_by if path in table.columns]
    if known and table.select(known).n_unique() > MOST_LINES:
        raise NothingToDraw(f"more lines than can be told apart, {MOST_LINES}")
    return table


def pictures(store: Store, one: Experiment) -> Iterator[Picture]:
    """Each kind of figure, as the experiment's page shows it first; one at a time.

    Without those that need what was not measured, or have more lines or cells than print shows.
    """
    source = _InPrint(store, one)
    for figure in FIGURES:
        with contextlib.suppress(NothingToDraw, QuestionTooLarge):
            spec = draw(wish_of(one, choices(figure)), source).to_dict(validate=False)
            text = json.dumps(figures.untouched(spec))
            _give_back()
            yield Picture(figure, json.dumps(spec).encode(), charting.drawn(text, "pdf"))


def _give_back() -> None:
    """Free what questions and figures left, before the process that draws needs as much as this one."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def in_parts(content: bytes) -> Iterator[bytes]:
    """A file that is there whole, some of it at a time."""
    file = io.BytesIO(content)
    while part := file.read(1 << 20):
        yield part
