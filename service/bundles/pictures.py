"""The figures of an experiment that can be drawn, each as PDF and as the Vega-Lite it is drawn from."""

import contextlib
import io
from collections.abc import Iterator
from typing import NamedTuple

from service.store.experiments import Experiment
from service.store.session import Store
from service.web import charting
from service.web.drawing import FIGURES, NothingToDraw, draw
from service.web.figure_pages import choices, wish_of
from service.web.store_source import StoreSource


class Picture(NamedTuple):
    """One figure."""

    name: str
    specification: bytes
    pdf: bytes


def pictures(store: Store, one: Experiment) -> list[Picture]:
    """Each kind of figure, as the experiment's page shows it first; without those that need what was not measured."""
    source = StoreSource(store, one.id, one.grid)
    found: dict[str, str] = {}
    for figure in FIGURES:
        with contextlib.suppress(NothingToDraw):
            found[figure] = draw(wish_of(one, choices(figure)), source).to_json(indent=None)
    pdfs = charting.drawn_together(list(found.values()), "pdf") if found else []
    return [Picture(name, text.encode(), pdf) for (name, text), pdf in zip(found.items(), pdfs, strict=True)]


def in_parts(content: bytes) -> Iterator[bytes]:
    """A file that is there whole, some of it at a time."""
    file = io.BytesIO(content)
    while part := file.read(1 << 20):
        yield part
