"""Settings of which nothing but a number in the canonical form depends: a hundred thousand of them are one check.

A section whose free settings alone differ from another's is as valid as that one, fits the other sections as it does,
and reads the same settings. So each value of a free setting is checked by itself, and all else once for all of them.
What is not named here may decide about other settings, and is looked at with every section that has it.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from service.grid.axes import SECTIONS
from service.grid.canonical import plain_numbers
from service.grid.fields import REFUSED, checked
from service.grid.fitting import Limits
from service.grid.network_settings import NetworkSettings
from service.grid.setting_types import Section
from service.grid.tokens import UNSAID, token
from service.grid.trial_settings import TrainingSettings

FREE: Final = frozenset(
    {
        *("data.noise", "data.offset", "data.radius", "data.seed"),
        "network.slope",
        *("init.scale", "init.first", "init.last"),
        *("training.learning_rate", "training.weight_decay", "training.momentum", "training.beta1", "training.beta2"),
        *("training.epsilon", "training.rho", "training.huber_delta", "training.label_smoothing"),
        *("training.horizon", "training.rtol", "training.atol", "training.schedule_factor", "training.steps"),
        *("measure.points", "measure.every"),
    }
)
"""Paths of settings that are free unless something beside them reads them: see `free_in` and `free_beside`."""


NONE: Final = 2
"""In the place of the sign of a value that is no free number."""


class Numbers(NamedTuple):
    """Values of a free setting, each None where it is none: refused, null, not given, or for `misfits` to refuse."""

    values: list[Any]
    """As their section has them."""
    plain: list[Any]
    """As canonical form has them."""
    texts: list[str]
    """As they are hashed."""
    signs: np.ndarray
    """(values,) -1, 0 or 1: whether a number is zero decides what is read; `NONE` where there is none."""
    kinds: np.ndarray
    """(values,) equal for values of one sign, and where the same thing stands in the place of a number."""


def free_in(model: Section) -> frozenset[str]:
    """Names of the settings that are free in a section, the others of which are given."""
    if isinstance(model, NetworkSettings) and model.kind != "mlp" and model.read_activation != "leaky_relu":
        # a kind refuses what it does not read, unless it is as where nothing is said
        return frozenset()
    return _names(model)


def unlike(model: Section) -> dict[str, frozenset[Any]]:
    """Name of a free setting -> numbers that decide about others: a layer's own is left out where it is that of all."""
    if not isinstance(model, TrainingSettings) or not model.layers:
        return {}
    return {
        name: frozenset(getattr(layer, name) for layer in model.layers.values())
        for name in ("learning_rate", "weight_decay")
    }


def free_beside(paths: Iterable[str]) -> frozenset[str]:
    """Paths that are free in a grid that sets these: kept weights must not be later than the last step."""
    return FREE - {"training.steps"} if "measure.weights" in paths else FREE


def free_numbers(path: str, values: Sequence[Any], limits: Limits) -> Numbers:
    """The values of a free setting, looked at all together."""
    section, name = SECTIONS[path.partition(".")[0]], path.partition(".")[2]
    most = limits.steps if path == "training.steps" else math.inf
    said = [index for index, value in enumerate(values) if value is not UNSAID]
    valid: list[Any] = [None] * len(values)
    for index, value in zip(said, checked(path, [values[index] for index in said]), strict=True):
        valid[index] = None if value is REFUSED or value is None or value > most else value
    plain = plain_numbers(section, name, valid)
    signs = np.full(len(values), NONE, np.int64)
    for index, value in enumerate(plain):
        if value is not None:
            signs[index] = (value > 0) - (value < 0)
    others = {}
    kinds = signs + 1
    for index in np.flatnonzero(signs == NONE).tolist():
        value = values[index]
        key = UNSAID if value is UNSAID else token(value)
        kinds[index] = others.setdefault(key, len(others) + NONE + 2)
    return Numbers(valid, plain, list(map(repr, plain)), signs, kinds)


@cache
def _of_section(section: type[Section]) -> frozenset[str]:
    name = next(key for key, model in SECTIONS.items() if model is section)
    return frozenset(path.partition(".")[2] for path in FREE if path.partition(".")[0] == name)


def _names(model: Section) -> frozenset[str]:
    return _of_section(type(model))
