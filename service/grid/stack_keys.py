"""The stack keys of many points of a grid, each different one hashed once. Pure."""

from collections.abc import Sequence

import numpy as np

from service.grid.building import PLACES
from service.grid.columns import coded, together
from service.grid.section_columns import SectionColumn
from service.grid.stacking import Training, key_of, own_names, shape_text, shared_training
from service.grid.texts import Texts


def stack_keys(sections: Sequence[SectionColumn], texts: Sequence[Texts]) -> tuple[list[str], np.ndarray]:
    """The different stack keys, and (points,) which of them each point has.

    Args:
        sections: of all points, in the order of `axes.SECTIONS`.
        texts: how they are written.
    """
    network, measure = (texts[PLACES[name]] for name in ("network", "measure"))
    shapes, of_shape = _shapes(sections[PLACES["data"]])
    members, of_members = _training(sections, texts[PLACES["training"]])
    codes = of_shape
    for own in (network.of, of_members, measure.of):
        codes = together(codes, own)
    _, first, of = np.unique(codes, return_index=True, return_inverse=True)
    columns = (
        map(different.__getitem__, own[first].tolist())
        for different, own in ((shapes, of_shape), (network.different, network.of), (measure.different, measure.of))
    )
    trained = map(members.__getitem__, of_members[first].tolist())
    return [key_of(s, n, t, m) for s, n, m, t in zip(*columns, trained, strict=True)], of


def _shapes(data: SectionColumn) -> tuple[list[str], np.ndarray]:
    """Sizes of the data, which no free number decides, and (points,) which of them each point has."""
    of_template = [shape_text(data.form(row, 0)) for row in data.examples()]
    return list(dict.fromkeys(of_template)), coded(of_template)[data.template[data.of]]


def _training(sections: Sequence[SectionColumn], texts: Texts) -> tuple[list[Training], np.ndarray]:
    """What stacks share of their training, and (points,) which of them each point has."""
    training, network = sections[PLACES["training"]], sections[PLACES["network"]]
    kinds = [str(network.form(row, 0)["parameterization"]) for row in network.examples()]
    different = list(dict.fromkeys(kinds))
    parameterization = coded(kinds)[network.template[network.of]]
    # of a template whose numbers are in no stack key one text stands for all
    like = np.where([training.has_key(row) for row in training.examples()], -1, training.examples())
    rows = like[training.template[texts.rows]]
    rows = np.where(rows < 0, texts.rows, rows)
    codes = together(together(rows[texts.of], texts.around[texts.of]), parameterization)
    _, first, of = np.unique(codes, return_index=True, return_inverse=True)
    rows, arounds = rows[texts.of[first]], texts.around[texts.of[first]]
    written = _shared(training, rows, arounds)
    own = OwnTexts(training)
    every = zip(rows.tolist(), arounds.tolist(), parameterization[first].tolist(), strict=True)
    found = [
        Training(text, own.of(row, around, different[kind]))
        for text, (row, around, kind) in zip(written, every, strict=True)
    ]
    return list(dict.fromkeys(found)), coded(found)[of]


def _shared(training: SectionColumn, rows: np.ndarray, arounds: np.ndarray) -> list[str]:
    """What stacks share of the training of rows in their surroundings, as it is hashed."""
    found = [""] * len(rows)
    for around in np.unique(arounds).tolist():
        members = np.flatnonzero(arounds == around)
        for at, text in zip(members.tolist(), training.texts(rows[members], around, shared_training), strict=True):
            found[at] = text
    return found


class OwnTexts:
    """How parameters are kept and moved, by sections of training that differ in free numbers alone."""

    def __init__(self, training: SectionColumn) -> None:
        self._training = training
        self._exact: dict[tuple[int, int, str], tuple[str, ...]] = {}

    def of(self, row: int, around: int, parameterization: str) -> tuple[str, ...]:
        """That of one row."""
        key = int(self._training.template[row]), around, parameterization
        if key not in self._exact:
            form = self._training.form(row, around)
            if form["dtype"] == "float32":
                return own_names(self._training.settings(row, around), parameterization)
            # of other numbers nothing follows where training is as exact as it can be
            self._exact[key] = own_names(form, parameterization)
        return self._exact[key]
