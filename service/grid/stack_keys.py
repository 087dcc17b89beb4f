"""The stack keys of many points of a grid, each different one hashed once. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from service.grid.building import PLACES
from service.grid.columns import coded, together
from service.grid.section_columns import SectionColumn
from service.grid.stacking import key_of, own_texts, shape_text, shared_training
from service.grid.texts import Texts
from service.grid.written import Written


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


def _training(sections: Sequence[SectionColumn], texts: Texts) -> tuple[list[Mapping[str, str]], np.ndarray]:
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
    every = zip(rows[texts.of[first]], texts.around[texts.of[first]], parameterization[first], strict=True)
    members = Members(training)
    found = [members.of(int(row), int(around), different[kind]) for row, around, kind in every]
    written = [tuple(one.items()) for one in found]
    numbers = coded(written)
    return [dict(one) for one in dict.fromkeys(written)], numbers[of]


class Members:
    """What stacks share of their training, by sections of it that differ in free numbers alone."""

    def __init__(self, training: SectionColumn) -> None:
        self._training = training
        self._shared: dict[tuple[int, int], Written] = {}
        self._exact: dict[tuple[tuple[int, int], str], dict[str, str]] = {}

    def of(self, row: int, around: int, parameterization: str) -> dict[str, str]:
        """Those of one row."""
        key = int(self._training.template[row]), around
        if key not in self._shared:
            self._shared[key] = Written(shared_training(self._training.form(row, around)))
        numbers = self._training.numbers(row)
        (text,) = self._shared[key].texts({name: [repr(number)] for name, number in numbers.items()}, 1)
        return {"training": text, **self._own(row, key, parameterization)}

    def _own(self, row: int, key: tuple[int, int], parameterization: str) -> dict[str, str]:
        form = self._training.form(row, key[1])
        if form["dtype"] == "float32":
            return own_texts(self._training.settings(row, key[1]), parameterization)
        # of other numbers nothing follows where training is as exact as it can be
        if (key, parameterization) not in self._exact:
            self._exact[key, parameterization] = own_texts(form, parameterization)
        return self._exact[key, parameterization]
