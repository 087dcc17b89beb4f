"""Which number of an experiment is shown where nobody names one: its alignment, if it measures that. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from nfa_kernels import names
from service.questions.layers import Layer

ALIGNMENT: Final = "alignment"


class Shown(NamedTuple):
    """A metric, and the layer it is of."""

    metric: str
    layer: Layer

    @property
    def says(self) -> str:
        """As a title begins: `Alignment of layer 1`, `train_loss`."""
        of = "" if self.metric in names.NETWORK_METRICS else f" of layer {self.layer}"
        return f"{'Alignment' if self.metric == ALIGNMENT else self.metric}{of}"


def shown_first(grid: Mapping[str, Any]) -> Shown:
    """What the trial block of a grid measures: the alignment, else the first metric of a layer that it names, else the
    first of any; in layer 1, else the first layer that it names.

    A grid whose axes vary what is measured is shown as one that says nothing about it.
    """
    measure = (grid.get("trial") or {}).get("measure") or {}
    return Shown(_metric(measure.get("metrics")), _layer(measure.get("layers")))


def _metric(named: Any) -> str:
    if not isinstance(named, Sequence) or isinstance(named, str) or ALIGNMENT in named:
        return ALIGNMENT
    numbers = [name for name in named if not names.words_of(name)]
    of_layers = [name for name in numbers if name not in names.NETWORK_METRICS]
    return next(iter([*of_layers, *numbers]), "train_loss")


def _layer(named: Any) -> Layer:
    if not isinstance(named, Sequence) or isinstance(named, str) or not named or 1 in named:
        return 1
    return named[0]
