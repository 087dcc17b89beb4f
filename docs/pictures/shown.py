"""Figures with the sweep that each is of and the command that draws it, for `make pictures` and the site's gallery."""

import shlex
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.presets import get_preset

HERE: Final = Path(__file__).parent
SEVERAL_EXPONENTS: Final[dict[str, Any]] = {
    "name": "alignment against the exponent",
    "trial": {
        "data": {"samples": 100, "inputs": 8, "outputs": 4, "spectrum": [3, 1.6, 0.9, 0.5]},
        "network": {"width": 12},
        "training": {"steps": 1000},
        "measure": {
            "points": 40,
            "metrics": ["alignment", *(f"agop_singular_value@{index}" for index in range(1, 5))],
            "exponents": [0.1, 0.2, 0.25, 0.333, 0.4, 0.5, 0.6, 0.75, 1],
        },
    },
    "axes": {"network.depth": [2, 3, 4], "training.weight_decay": [0, 0.02, 0.1]},
    "seeds": 5,
}
_BY_DECAY: Final = "--color training.weight_decay --facet network.depth --dash none"


class Shown(NamedTuple):
    """A figure of the gallery.

    Attributes:
        name: of its file in docs/pictures.
        sweep: a key of `sweeps`.
        words: of `nfa plot`, after the experiment.
        says: what one sees.
    """

    name: str
    sweep: str
    words: str
    says: str

    def command(self, experiment: str, folder: str = "") -> str:
        """The line that draws it."""
        return f"nfa plot {experiment} {self.words} --out {shlex.quote(f'{folder}{self.name}.png')}"


GALLERY: Final = (
    Shown(
        "alignment",
        "weight-decay",
        f"curves {_BY_DECAY} --title 'Weight decay restores the Neural Feature Ansatz'",
        "Alignment of layer 1 against step. Without decay (dark) the ansatz fails; with it, it holds.",
    ),
    Shown(
        "one-minus-alignment",
        "weight-decay",
        f"curves {_BY_DECAY} --complement --title 'Weight decay restores the Neural Feature Ansatz'",
        "The same, as what is missing to one, on a log axis.",
    ),
    Shown(
        "residual",
        "weight-decay",
        f"curves {_BY_DECAY} --metric residual --title Residual",
        "The distance that a cosine near one hides.",
    ),
    Shown(
        "imbalance",
        "weight-decay",
        "imbalance --color training.weight_decay --facet network.depth --title 'Imbalance decays like e^(−2λt)'",
        "How far neighbouring layers are from balance; theory is dashed.",
    ),
    Shown(
        "loss",
        "weight-decay",
        f"curves {_BY_DECAY} --metric train_loss --title 'Training loss'",
        "Where training ends: decay costs a little of the fit.",
    ),
    Shown(
        "phase",
        "weight-decay",
        "phase --color training.weight_decay --facet network.depth --title 'Final alignment'",
        "Two settings and a colour: where the ansatz holds.",
    ),
    Shown(
        "exponent",
        "depth",
        "exponent --color network.depth --facet none --title 'The best exponent is 1/L'",
        "The exponent that fits best, against depth, with 1/L dashed.",
    ),
    Shown(
        "profile",
        "exponents",
        f"profile {_BY_DECAY} --title 'Alignment against the exponent'",
        "The cosine at every exponent: a peak at 1/L only where the ansatz holds.",
    ),
    Shown(
        "spectra",
        "exponents",
        f"spectra {_BY_DECAY} --title 'Singular values of the Jacobian'",
        "Modes are learned one after the other, the largest first.",
    ),
)


def sweeps() -> dict[str, dict[str, Any]]:
    """The grids that the gallery is of: two presets, and one of its own."""
    presets = {name: get_preset(name).grid for name in ("weight-decay", "depth")}
    return presets | {"exponents": SEVERAL_EXPONENTS}
